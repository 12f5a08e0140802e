"""The maps of an attack as small videos, written picture by picture while it is crafted."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import exp, log, sqrt
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.spec import AttackSpec
from multav.figures.changed_region import changed_region
from multav.figures.difference_maps import GAIN, difference_map, signed_difference_map
from multav.figures.ratio_map import ratio_map
from multav.grid import Drawable, Grid
from multav.pictures import thin
from multav.video.encode import Writer, encode
from multav.video.formats import FORMATS
from multav.video.info import VideoInfo
from multav.video.limits import Limits
from multav.video.picture import Picture

# Large enough to see structure, and cheap: maps are noise, which a thorough encoder spends seconds on.
_SIDE: Final = 480
_FORMAT: Final = replace(FORMATS["h264-mp4"], options={"preset": "ultrafast"})
_CRF: Final = 23


@dataclass(frozen=True)
class MapVideo:
    """One map: its artifact role, the end of its file's name, and how a pair of pictures becomes a picture of it."""

    role: str
    suffix: str
    draw: Callable[[Drawable, Drawable], NDArray[np.uint8]]

    @property
    def media_type(self) -> str:
        """Of the file."""
        return _FORMAT.media_type

    def path(self, folder: Path) -> Path:
        """Where the file is written."""
        return folder / f"{self.role}{_FORMAT.suffix}"


def map_videos(attack: AttackSpec, values: int) -> tuple[MapVideo, ...]:
    """The maps that say something about `attack`, whose samples have `values` values each."""
    maps = [
        MapVideo("difference-map", f"difference-x{GAIN}", difference_map),
        MapVideo("signed-difference-map", f"signed-difference-x{GAIN}", signed_difference_map),
    ]
    epsilon = full_ratio(attack, values)
    if epsilon is not None:
        maps.append(MapVideo("ratio-map", f"ratio-map-{epsilon:.4g}", partial(ratio_map, epsilon=epsilon)))
    if has_region(attack):
        maps.append(MapVideo("changed-region", "changed-region", changed_region))
    return tuple(maps)


def full_ratio(attack: AttackSpec, values: int) -> float | None:
    """The ratio that a ratio map shows in full colour; None where the attack adds.

    The bound itself. Where that is on the length of a whole sample's relative change, twice the root mean square that
    the bound, or all steps together, allow over the sample's `values`. None also where pixels are replaced before
    they are multiplied: their ratio to the clean ones is not what is bounded.
    """
    if attack.rule.name != "multiplicative" or attack.region.level is not None:
        return None
    if attack.ball.elementwise or not isinstance(attack, FixedStepAttack):
        return attack.epsilon
    root = sqrt(values)
    return min(1 + 2 * attack.epsilon / root, exp(2 * attack.steps * log(attack.step_size) / root))


def has_region(attack: AttackSpec) -> bool:
    """Whether the attack is held to a part of the picture."""
    return attack.region.name != "whole-clip"


class MapWriter:
    """Takes pairs of clean pictures and crafted ones on `grid`, (H, W, 3) in display order."""

    def __init__(self, videos: list[tuple[MapVideo, Writer]], grid: Grid) -> None:
        self._videos, self._grid = videos, grid

    def write(self, source: Picture, crafted: Picture, pts: int) -> None:
        """Append one picture to every map, at `pts` of the source. Raises `EncodingFailed`."""
        small = thin(source, _SIDE)
        changed = small if crafted is source else thin(crafted, _SIDE)
        clean, other = self._grid.drawable(small, changed)
        for video, writer in self._videos:
            writer.write(video.draw(clean, other), pts)


@contextmanager
def open_maps(
    videos: tuple[MapVideo, ...],
    folder: Path,
    size: tuple[int, int],
    grid: Grid,
    info: VideoInfo,
    limits: Limits,
) -> Iterator[MapWriter]:
    """Write `videos` into `folder`, of pictures of `size` (height, width) with the times of `info`.

    The files are there when the block is left without an exception. Raises `EncodingFailed`.
    """
    height, width = thin(np.zeros((*size, 3), np.uint8), _SIDE).shape[:2]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                encode(
                    video.path(folder),
                    _FORMAT,
                    width=width,
                    height=height,
                    time_base=info.time_base,
                    frame_rate=info.frame_rate,
                    crf=_CRF,
                    limits=limits,
                )
            )
            for video in videos
        ]
        yield MapWriter(list(zip(videos, writers, strict=True)), grid)
