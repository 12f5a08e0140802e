"""What a camera, an editor and an encoder do to a picture, roughly: exposure, bars, compression, noise."""

import numpy as np

from multav.synthetic.camera_path import Floats

_BARS = 0.08
_COMPRESSED = 0.4
_BLOCK = 4


def film(clip: Floats, generator: np.random.Generator) -> Floats:
    """`clip` (T,3,S,S) as footage: gain and its drift, tone curve, black bars, compression, sensor noise.

    Values come back in [0, 1]. Bars and compression are on a share of the clips; noise differs from frame to
    frame.
    """
    time = np.linspace(-0.5, 0.5, len(clip), dtype=np.float32)[:, None, None, None]
    gain = np.float32(generator.uniform(0.75, 1.2)) * (1 + np.float32(generator.uniform(-0.06, 0.06)) * time)
    curve = np.float32(np.exp(generator.uniform(-0.35, 0.35)))
    filmed = np.clip(clip * gain, 0, 1) ** curve
    if generator.random() < _BARS:
        bar = int(generator.integers(1, 1 + clip.shape[-1] // 7))
        filmed[:, :, :bar] = filmed[:, :, -bar:] = 0
    if generator.random() < _COMPRESSED:
        filmed = compress(filmed, step=np.exp(generator.uniform(np.log(0.01), np.log(0.12))))
    noise = np.float32(generator.uniform(0, 1) ** 2 * 0.025)
    filmed += noise * generator.standard_normal(filmed.shape, np.float32)
    return filmed.clip(0, 1)


def compress(clip: Floats, *, step: float) -> Floats:
    """Round the 4x4 cosine transform of every block of (...,S,S) to multiples of `step`, as encoders do.

    The mean of a block is rounded four times finer. S must be a multiple of 4.
    """
    *_, height, width = clip.shape
    basis = _cosine_basis(_BLOCK)
    blocks = clip.reshape(-1, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).swapaxes(2, 3)
    spectrum = basis @ blocks @ basis.T
    steps = np.full((_BLOCK, _BLOCK), step, np.float32)
    steps[0, 0] = step / 4
    decoded = basis.T @ (np.round(spectrum / steps) * steps) @ basis
    return decoded.swapaxes(2, 3).reshape(clip.shape).astype(np.float32, copy=False)


def _cosine_basis(size: int) -> Floats:
    """The orthonormal DCT-II matrix, rows are frequencies."""
    frequency, place = np.arange(size)[:, None], np.arange(size)[None, :]
    basis = np.sqrt(2 / size) * np.cos(np.pi * (place + 0.5) * frequency / size)
    basis[0] *= np.sqrt(0.5)
    orthonormal: Floats = basis.astype(np.float32)
    return orthonormal
