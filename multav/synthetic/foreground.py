"""Things that move in front of the camera in ways of their own, so that motion alone is not the answer."""

import numpy as np

from multav.synthetic.camera_path import Floats

MOST_OBJECTS = 3
_RESTING = 0.25
_SWAYING = 0.33


def add_foreground(clip: Floats, generator: np.random.Generator, *, texture: Floats) -> None:
    """Lay one to three soft-edged moving discs and boxes over `clip` (T,3,S,S) in place.

    Each has a random place, size (up to a quarter of the picture), direction, speed and a little growth, and
    one in three sways to and fro; one in four rests, as a logo does. `texture` (3,P,P) around 0, P >= S, gives
    them their surface, which moves with them.
    """
    for _ in range(int(generator.integers(1, MOST_OBJECTS + 1))):
        _add_object(clip, generator, texture=texture)


def _add_object(clip: Floats, generator: np.random.Generator, *, texture: Floats) -> None:
    frames, _, pixels, _ = clip.shape
    time = np.linspace(-0.5, 0.5, frames, dtype=np.float32)
    resting = generator.random() < _RESTING
    travel = generator.uniform(-0.6, 0.6, 2) * (not resting)
    growth = generator.uniform(-0.3, 0.3) * (not resting)
    middle = generator.uniform(0.05, 0.95, 2)
    radius = generator.uniform(0.06, 0.28) * np.exp(growth * time) * pixels
    aspect, softness = generator.uniform(0.5, 1.5), generator.uniform(0.8, 2.5)
    is_box = generator.random() < 0.4
    sway = generator.uniform(-0.12, 0.12, 2) * (generator.random() < _SWAYING and not resting)
    swing = np.sin(2 * np.pi * (generator.uniform(0.7, 3) * time + generator.random()))
    centre = (middle + time[:, None] * travel + swing[:, None] * sway) * pixels - 0.5
    colour = generator.uniform(0.1, 0.9, (3, 1, 1)).astype(np.float32)
    amplitude = np.float32(generator.uniform(0, 0.2))

    grid = np.arange(pixels, dtype=np.float32)
    for frame, (x, y), size in zip(clip, centre.astype(np.float32), radius.astype(np.float32), strict=True):
        along, across = (grid[None, :] - x), (grid[:, None] - y) / np.float32(aspect)
        distance = np.maximum(abs(along), abs(across)) if is_box else np.hypot(along, across)
        cover = np.clip((size - distance) / np.float32(softness) + np.float32(0.5), 0, 1)
        surface = colour + amplitude * _moved(texture, x, y, pixels=pixels)
        frame += cover * (surface - frame)


def _moved(texture: Floats, x: np.float32, y: np.float32, *, pixels: int) -> Floats:
    """The surface shifted by whole pixels to follow an object at (x, y): (3, pixels, pixels)."""
    size = texture.shape[-1]
    rows = (np.arange(pixels) - round(float(y))) % size
    columns = (np.arange(pixels) - round(float(x))) % size
    return texture[:, rows[:, None], columns[None, :]]
