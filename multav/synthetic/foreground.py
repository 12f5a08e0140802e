"""Things that move in front of the camera in ways of their own, so that motion alone is not the answer."""

import numpy as np

from multav.synthetic.camera_path import Floats

MOST_BODIES = 3
MOST_PARTS = 3
_RESTING = 0.2
_SWAYING = 0.33


def add_foreground(clip: Floats, generator: np.random.Generator, *, texture: Floats) -> None:
    """Lay one to three moving bodies over `clip` (T,3,S,S) in place.

    A body is one to three soft-edged discs and boxes that move together, each a little on its own, as limbs
    do. It has a random place (half out of the picture, perhaps), size (up to a third of the picture),
    direction and speed, stretches or shrinks in width and height apart, and one in three sways to and fro;
    one in five rests, as a logo does. `texture` (3,P,P) around 0, P >= S, gives the parts their surfaces,
    which move with them.
    """
    for _ in range(int(generator.integers(1, MOST_BODIES + 1))):
        _add_body(clip, generator, texture=texture)


def _add_body(clip: Floats, generator: np.random.Generator, *, texture: Floats) -> None:
    frames = len(clip)
    time = np.linspace(-0.5, 0.5, frames)[:, None]
    moving = generator.random() >= _RESTING
    sway = generator.uniform(-0.12, 0.12, 2) * (generator.random() < _SWAYING)
    swing = np.sin(2 * np.pi * (generator.uniform(0.7, 3) * time + generator.random()))
    # (T,2), x and y: where the body is, and how much longer it is than at the middle of the clip
    place = generator.uniform(-0.05, 1.05, 2) + moving * (
        time * generator.uniform(-0.6, 0.6, 2) + swing * sway
    )
    stretch = np.exp(moving * time * generator.uniform(-0.5, 0.5, 2))
    size = generator.uniform(0.06, 0.26)
    for part in range(int(generator.integers(1, MOST_PARTS + 1))):
        offset = (part > 0) * generator.uniform(-1.2, 1.2, 2) * size
        own_travel = (part > 0) * moving * time * generator.uniform(-0.25, 0.25, 2)
        shape = generator.uniform(0.5, 1.0) * np.exp(generator.uniform(-0.6, 0.6) * np.array([0.5, -0.5]))
        centres = (place + offset * stretch + own_travel).astype(np.float32)
        radii = (size * shape * stretch).astype(np.float32)
        _paint_part(clip, generator, centres=centres, radii=radii, texture=texture)


def _paint_part(
    clip: Floats, generator: np.random.Generator, *, centres: Floats, radii: Floats, texture: Floats
) -> None:
    """One part at `centres` with `radii`, both (T,2) in sides of the picture, x first."""
    pixels = clip.shape[-1]
    softness, is_box = np.float32(generator.uniform(0.8, 2.5)), generator.random() < 0.3
    colour = generator.uniform(0.05, 0.95, (3, 1, 1)).astype(np.float32)
    amplitude = np.float32(generator.uniform(0, 0.2))
    grid = np.arange(pixels, dtype=np.float32)
    in_pixels = zip(clip, (centres * pixels - 0.5).tolist(), (radii * pixels).tolist(), strict=True)
    for frame, (x, y), (width, height) in in_pixels:
        along, across = (grid[None, :] - x) / width, (grid[:, None] - y) / height
        distance = np.maximum(abs(along), abs(across)) if is_box else np.hypot(along, across)
        cover = np.clip((1 - distance) * (min(width, height) / softness) + np.float32(0.5), 0, 1)
        surface = colour + amplitude * _moved(texture, x, y, pixels=pixels)
        frame += cover * (surface - frame)


def _moved(texture: Floats, x: float, y: float, *, pixels: int) -> Floats:
    """The surface shifted by whole pixels to follow a part at (x, y): (3, pixels, pixels)."""
    size = texture.shape[-1]
    rows, columns = (np.arange(pixels) - round(y)) % size, (np.arange(pixels) - round(x)) % size
    return texture[:, rows[:, None], columns[None, :]]
