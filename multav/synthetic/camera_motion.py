"""The built-in labelled video set: clips of a moving camera, made by a formula, endless, licence-free.

Ten classes, named as a person would name what the CAMERA does (`camera_path` fixes the signs: pan right means
that the camera turns right and the scene moves left). No single frame tells the class, so a model that knows
them looks at time. A clip is a still scene (`scene`) filmed along a random path (`camera_path`, `view`), more
often than not behind moving things (`foreground`), then treated as footage (`footage`).

    clips = camera_motion_clips(range(1000), seed=7)
    clips.pixels            # uint8 (1000, 3, 8, 56, 56)
    clips.labels            # int64 (1000,), indices into CLASSES

Clip `i` of a seed is always the same clip, whichever others are asked for with it; its class is `i % 10`, so
any run of indices is balanced. Different seeds share nothing: train on one, hold out another.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multav.synthetic.camera_path import MOTIONS, CameraPath, Motion, PathRanges, draw_path
from multav.synthetic.footage import film
from multav.synthetic.foreground import add_foreground
from multav.synthetic.scene import draw_scene, fractal_noise
from multav.synthetic.view import look, shrink

CLASSES: tuple[Motion, ...] = MOTIONS
FRAMES = 8
PIXELS = 56

_STREAM = 0x63616D  # keeps this set's random numbers apart from any other use of the same seed
_OVERSAMPLING = 2


@dataclass(frozen=True)
class LabelledClips:
    """`pixels` uint8 (N,3,T,H,W) RGB; `labels` int64 (N,), indices into `CLASSES`."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def camera_motion_clips(
    indices: Iterable[int],
    *,
    seed: int,
    frames: int = FRAMES,
    pixels: int = PIXELS,
    ranges: PathRanges | None = None,
    foreground: float = 0.7,
) -> LabelledClips:
    """The clips with these `indices` (0 or more) of the set with this `seed` (0 or more).

    `frames` per clip and `pixels` per side (a multiple of 4) may be chosen; `ranges` says how far the camera
    moves, `foreground` which share of the clips has moving things in front. Takes about 9 ms per clip on
    one core.
    """
    chosen = list(indices)
    if pixels % 4 or pixels < 8 or frames < 2:
        raise ValueError(f"need pixels >= 8, a multiple of 4, and frames >= 2: got {pixels=}, {frames=}")
    clips = np.empty((len(chosen), 3, frames, pixels, pixels), np.uint8)
    for clip, index in zip(clips, chosen, strict=True):
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM, index)))
        path = draw_path(MOTIONS[label_of(index)], generator, frames=frames, ranges=ranges)
        clip[...] = _filmed(path, generator, pixels=pixels, foreground=foreground)
    return LabelledClips(clips, np.array([label_of(index) for index in chosen], np.int64))


def label_of(index: int) -> int:
    """The class of clip `index`, whatever the seed."""
    return index % len(CLASSES)


def _filmed(
    path: CameraPath, generator: np.random.Generator, *, pixels: int, foreground: float
) -> NDArray[np.uint8]:
    """A random scene filmed along `path`: uint8 (3,T,H,W)."""
    fine = pixels * _OVERSAMPLING
    scene = draw_scene(generator, pixels=fine * 10 // 7)
    side = fine * generator.uniform(0.7, 1.05)
    centre = generator.uniform(0.35, 0.65, 2) * scene.shape[-1]
    seen = look(scene, path, centre=(centre[0], centre[1]), side=side, pixels=fine)
    clip = shrink(seen, pixels=pixels)
    if generator.random() < foreground:
        add_foreground(clip, generator, texture=fractal_noise(generator, pixels=pixels))

    # (T,3,H,W) -> (3,T,H,W)
    return np.round(film(clip, generator) * 255).astype(np.uint8).swapaxes(0, 1)
