"""Clips to look at: before and after an attack, and the difference fifteen times as large, as small videos."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

from multav.figures.difference_maps import difference_map
from multav.video.encode import encode
from multav.video.limits import Limits
from multav.video.picture import Picture

_SHOWN_SIDE: Final = 224
_CRF: Final = 12
_FRAMES_A_SECOND: Final = 8
NAMES: Final = ("before", "after", "difference")


def write_example(
    folder: Path, name: str, clean: Tensor, adversarial: Tensor, limits: Limits
) -> tuple[Path, Path, Path]:
    """Write `clean` and `adversarial` (3, T, H, W) in [0, 1] and their difference as H.264.

    Small pictures are enlarged by a whole number, so that single pixels can be seen. The files are for looking: their
    compression changes what a model says.
    """
    before, after = _levels(clean), _levels(adversarial)
    times = max(1, _SHOWN_SIDE // min(before.shape[1:3]))
    paths = [folder / f"{name}-{each}.mp4" for each in NAMES]
    height, width = (times * side for side in before.shape[1:3])
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                encode(
                    path,
                    "h264-mp4",
                    width=width,
                    height=height,
                    time_base=f"1/{_FRAMES_A_SECOND}",
                    frame_rate=_FRAMES_A_SECOND,
                    crf=_CRF,
                    limits=limits,
                )
            )
            for path in paths
        ]
        for moment, pictures in enumerate(_triples(before, after)):
            for writer, picture in zip(writers, pictures, strict=True):
                writer.write(np.ascontiguousarray(picture.repeat(times, 0).repeat(times, 1)), moment)
    return paths[0], paths[1], paths[2]


def _triples(before: Picture, after: Picture) -> Iterator[tuple[Picture, Picture, Picture]]:
    for one, other in zip(before, after, strict=True):
        yield one, other, difference_map(one, other)


def _levels(clip: Tensor) -> Picture:
    """(3, T, H, W) in [0, 1] -> uint8 (T, H, W, 3)."""
    levels: Picture = clip.detach().mul(255).round_().clamp_(0, 255).byte().permute(1, 2, 3, 0).cpu().numpy()
    return levels
