"""The clips that a model is shown of a video: decoded, cut into windows, resized and cropped.

As the paper has it: the short side is resized to the model's (bilinear, antialiased; 320x240 becomes 149x112), the
centre is kept (from column round(18.5) = 18), pixels are RGB in [0, 1] and nothing is normalised, flipped or
otherwise changed.

The resize is the project's own (`multav.footage.shrink`), so that an audit sees what an attack on the model's input
sees. Pillow's, which the authors used, computes the same weights and rounds to 8 bits once more, between columns and
rows: where the two differ (a seventh of the values of noise, a quarter of a ramp's), it is by one level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from multav.datasets.cut_short import cut_short
from multav.datasets.listing import ListedVideo
from multav.datasets.made_video import MadeVideo
from multav.datasets.opening import as_bad_video
from multav.datasets.recipes import Recipe, Window, windows_of
from multav.errors import BadVideo, VideoTooLarge
from multav.footage import shrink
from multav.geometry import InputGeometry
from multav.preprocessing import preprocessing
from multav.video.decode import decode
from multav.video.info import VideoInfo
from multav.video.limits import Limits
from multav.video.picture import Picture

MOST_BYTES: Final = 256 * 2**20
"""Largest clip that is loaded: 7,000 frames of 112x112."""


@dataclass(frozen=True)
class LoadedClip:
    """What a model is shown of one video: all windows that the recipe cuts from it.

    `levels` is uint8 (windows, 3, T, H, W) RGB on the CPU; `frames` says how many frames the video has (decoded, not
    claimed), `damaged` that parts of the file could not be decoded and were passed over, or that it was cut off.
    """

    levels: Tensor
    frames: int
    damaged: bool

    @property
    def pixels(self) -> Tensor:
        """float32 (windows, 3, T, H, W) in [0, 1]: level / 255."""
        return self.levels.float().div_(255)


def load_clip(
    video: ListedVideo,
    geometry: InputGeometry,
    recipe: Recipe,
    limits: Limits | None = None,
    *,
    check: Callable[[], None] | None = None,
) -> LoadedClip:
    """The windows that `recipe` cuts from `video`, as a model of `geometry` sees them.

    A file is decoded in a bounded child process; `check` is called at every frame and may raise to leave. Raises the
    `BadVideo` family for what is wrong with this file (that it is not there or may not be read included).
    """
    if isinstance(video, MadeVideo):
        return _made(video, geometry, recipe)
    if video.path is None:
        raise BadVideo(f"{video.name} has no file, and no formula either")
    with as_bad_video(video.name):
        return _Reading(video.path, geometry, recipe, limits or Limits(), check or _go_on).loaded()


def _made(video: MadeVideo, geometry: InputGeometry, recipe: Recipe) -> LoadedClip:
    """A made clip: as it is where it has the model's size, resized otherwise."""
    pictures = video.pictures()
    resize = preprocessing(geometry, *pictures.shape[1:3])
    windows = windows_of(recipe, len(pictures), geometry)
    kept = {index: shrink(pictures[index], resize) for index in set(chain.from_iterable(windows))}
    return LoadedClip(_stacked(windows, kept), len(pictures), damaged=False)


class _Reading:
    """One file on its way to a clip.

    Which frames a recipe takes depends on how many there are, and only a whole pass tells that. The first pass keeps
    what the container's claim asks for; where the claim was wrong a second one fetches what is lacking. So memory is
    that of the windows, not of the video.
    """

    def __init__(
        self,
        path: Path,
        geometry: InputGeometry,
        recipe: Recipe,
        limits: Limits,
        check: Callable[[], None],
    ) -> None:
        self._path, self._geometry, self._recipe = path, geometry, recipe
        self._limits, self._check = limits, check
        self._kept: dict[int, Picture] = {}
        self._damaged = False

    def loaded(self) -> LoadedClip:
        frames = self._pass(None)
        wanted = self._wanted(frames)
        if wanted is None:
            raise VideoTooLarge(
                f"recipe {self._recipe!r} cuts more than {MOST_BYTES} bytes of clips from the {frames} frames of this "
                "video: cut the video into pieces, or use recipe model or paper"
            )
        if wanted - self._kept.keys() and self._pass(wanted) != frames:
            raise BadVideo("two passes over the file found different numbers of frames: it is being written")
        windows = windows_of(self._recipe, frames, self._geometry)
        return LoadedClip(_stacked(windows, self._kept), frames, self._damaged)

    def _pass(self, wanted: set[int] | None) -> int:
        """Decode all frames and keep the `wanted` ones (by the container's claim if None); how many there are."""
        count = 0
        with decode(self._path, self._limits) as frames:
            if wanted is None:
                claim = min(_claim(frames.info), self._limits.max_frames)
                wanted = (self._wanted(claim) if claim > 0 else None) or set()
            resize = preprocessing(self._geometry, frames.info.height, frames.info.width)
            for index, frame in enumerate(frames):
                self._check()
                count += 1
                if index in wanted and index not in self._kept:
                    self._kept[index] = shrink(frame.rgb, resize)
            assert frames.summary is not None, "all frames were read"
            self._damaged = frames.summary.damaged or cut_short(frames.info.frames, count)
        return count

    def _wanted(self, frames: int) -> set[int] | None:
        """The frames that the recipe takes of so many; None where that is too much."""
        windows = windows_of(self._recipe, frames, self._geometry)
        values = 3 * self._geometry.frames * self._geometry.height * self._geometry.width
        return None if len(windows) * values > MOST_BYTES else set(chain.from_iterable(windows))


def _claim(info: VideoInfo) -> int:
    """How many frames the container says, or its duration does; 0 where it says nothing."""
    if info.frames is not None:
        return info.frames
    return 0 if info.duration_seconds is None else round(info.duration_seconds * info.frame_rate)


def _stacked(windows: tuple[Window, ...], pictures: dict[int, Picture]) -> Tensor:
    """(H, W, 3) pictures by index -> uint8 (windows, 3, T, H, W)."""
    height, width, _ = pictures[windows[0][0]].shape
    levels = np.empty((len(windows), 3, len(windows[0]), height, width), np.uint8)
    for number, window in enumerate(windows):
        for position, index in enumerate(window):
            levels[number, :, position] = pictures[index].transpose(2, 0, 1)
    return torch.from_numpy(levels)


def _go_on() -> None:
    """Nothing stops the reading."""
