"""A still picture of nothing, with the statistics of a photograph: what the synthetic camera films.

Fractal noise (power falling with frequency, as in natural images) under up to `MOST_LEAVES` opaque shapes of
all sizes that hide each other ("dead leaves", which give edges, corners and flat areas), each with its own
colour, texture and sharpness.
"""

import numpy as np

from multav.synthetic.camera_path import Floats

MOST_LEAVES = 45
_STRIPED = 0.15


def draw_scene(generator: np.random.Generator, *, pixels: int) -> Floats:
    """A random picture, float32 (3, pixels, pixels) around 0.5, mostly but not strictly within [0, 1]."""
    noise = fractal_noise(generator, pixels=pixels)
    contrast = generator.uniform(0.04, 0.22)
    picture = generator.uniform(0.25, 0.75, (3, 1, 1)).astype(np.float32) + contrast * noise
    palette = generator.uniform(0.2, 1.0) * generator.uniform(-0.45, 0.45, (MOST_LEAVES, 3)) + 0.5
    count = round(MOST_LEAVES * generator.uniform(0, 1) ** 1.5)
    softness = generator.uniform(0.7, 3.0)
    # small shapes are many and large ones few, and the large ones lie below
    radii = np.sort(np.exp(generator.uniform(np.log(0.02), np.log(0.45), count)))[::-1] * pixels
    for colour, radius in zip(palette.astype(np.float32), radii, strict=False):
        cover, corner = _draw_leaf(generator, radius=radius, softness=softness, pixels=pixels)
        amplitude = np.float32(contrast * generator.uniform(0, 1.2))
        surface = colour[:, None, None] + amplitude * _draw_texture(generator, noise, shape=cover.shape)
        patch = picture[:, corner[0] : corner[0] + cover.shape[0], corner[1] : corner[1] + cover.shape[1]]
        patch += cover * (surface - patch)
    return picture


def fractal_noise(generator: np.random.Generator, *, pixels: int) -> Floats:
    """1/f^a noise with a from 0.8 to 1.7, three correlated colours: (3, pixels, pixels), deviation 1."""
    across, down = np.fft.rfftfreq(pixels), np.fft.fftfreq(pixels)
    frequency = np.hypot(down[:, None], across[None, :])
    frequency[0, 0] = np.inf
    amplitude = (frequency ** -generator.uniform(0.8, 1.7)).astype(np.float32)
    real, imaginary = generator.standard_normal((2, 3, *amplitude.shape), np.float32)
    noise = np.fft.irfft2((real + 1j * imaginary) * amplitude, s=(pixels, pixels)).astype(np.float32)
    noise /= noise.std(axis=(1, 2), keepdims=True)
    colourfulness = np.float32(generator.uniform(0, 0.7))
    mixed: Floats = (1 - colourfulness) * noise[:1] + colourfulness * noise
    mixed /= mixed.std()
    return mixed


def _draw_leaf(
    generator: np.random.Generator, *, radius: float, softness: float, pixels: int
) -> tuple[Floats, tuple[int, int]]:
    """One ellipse or box: how much it covers the pixels around it, (R,C) in [0, 1], and their top left."""
    centre_y, centre_x = generator.uniform(0, pixels, 2)
    aspect, angle, is_box = generator.uniform(0.3, 1), generator.uniform(0, np.pi), generator.random() < 0.5
    reach = radius * 1.5 + softness
    top, bottom = max(0, int(centre_y - reach)), min(pixels, int(centre_y + reach) + 1)
    left, right = max(0, int(centre_x - reach)), min(pixels, int(centre_x + reach) + 1)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre_y)
    x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(centre_x)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = cosine * x + sine * y, (cosine * y - sine * x) / np.float32(aspect)
    distance = np.maximum(abs(along), abs(across)) if is_box else np.hypot(along, across)
    cover = np.clip((np.float32(radius) - distance) / np.float32(softness) + np.float32(0.5), 0, 1)
    return cover, (top, left)


def _draw_texture(generator: np.random.Generator, noise: Floats, *, shape: tuple[int, ...]) -> Floats:
    """The surface of one leaf around 0: another piece of the noise, or stripes; (3,R,C) or broadcastable."""
    rows, columns = shape
    if generator.random() < _STRIPED:
        angle, wave = generator.uniform(0, np.pi), 2 * np.pi / generator.uniform(5, 30)
        down = np.arange(rows, dtype=np.float32)[:, None] * np.float32(wave * np.sin(angle))
        across = np.arange(columns, dtype=np.float32)[None, :] * np.float32(wave * np.cos(angle))
        return 2 * np.sin(down + across)
    top = int(generator.integers(0, noise.shape[1] - rows + 1))
    left = int(generator.integers(0, noise.shape[2] - columns + 1))
    return noise[:, top : top + rows, left : left + columns]
