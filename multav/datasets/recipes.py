"""How the frames of a video become windows: lists of frame indices, as pure functions. Torch-free.

Each takes how many frames a video has (1 or more) and the model's geometry, and gives windows of `geometry.frames`
indices from 0. A video that is too short is looped from its start.
"""

from collections.abc import Callable
from typing import Final, Literal

from multav.geometry import InputGeometry
from multav.windows import middle_frames

Window = tuple[int, ...]
Recipe = Literal["model", "paper", "hara"]


def windows_of(recipe: Recipe, frames: int, geometry: InputGeometry) -> tuple[Window, ...]:
    """The windows that `recipe` cuts from a video of `frames` frames. Raises ValueError without a frame."""
    if frames < 1:
        raise ValueError(f"a video has at least one frame, not {frames}")
    return RECIPES[recipe](frames, geometry)


def model_windows(frames: int, geometry: InputGeometry) -> tuple[Window, ...]:
    """One window in the middle, `geometry.stride` apart: the clip that an attack with coverage `clip` acts on."""
    window = tuple(sorted(middle_frames(frames, geometry)))
    return (_looped(window, geometry.frames),)


def paper_windows(frames: int, geometry: InputGeometry) -> tuple[Window, ...]:
    """One window as the paper's authors cut it: every (n // T)th frame from the first, and of those the first T.

    So of a video with T to 2T - 1 frames it is simply the first T, and the rest is never seen. `geometry.stride` does
    not count. Source: the authors' loader of UCF101, which trains and tests on it (T = 40 there).
    """
    length = geometry.frames
    stride = max(1, frames // length)
    return (_looped(tuple(range(0, frames, stride))[:length], length),)


def hara_windows(frames: int, geometry: InputGeometry) -> tuple[Window, ...]:
    """Windows of T neighbouring frames side by side, the last of which is looped when it is short.

    A video's scores are the mean of its windows' softmax. Source: Hara et al.'s inference with `SlidingWindow`
    (T = 16 there). Their older loader, of 2018, left out a last window of a single frame; this one keeps it.
    """
    length = geometry.frames
    return tuple(
        _looped(tuple(range(start, min(start + length, frames))), length)
        for start in range(0, frames, length)
    )


RECIPES: Final[dict[Recipe, Callable[[int, InputGeometry], tuple[Window, ...]]]] = {
    "model": model_windows,
    "paper": paper_windows,
    "hara": hara_windows,
}
"""Recipes by name."""


def _looped(indices: Window, length: int) -> Window:
    return tuple(indices[position % len(indices)] for position in range(length))
