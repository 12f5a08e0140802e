"""Known camera motion over real pictures: moving views cut out of still frames, to test what was learnt.

A view is sampled at the picture's own resolution and then resized as the preprocessing resizes a video, so a
clip looks like a real one in everything but depth.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from multav.synthetic.camera_motion import FRAMES, PIXELS, LabelledClips, label_of
from multav.synthetic.camera_path import MOTIONS, PathRanges, draw_path
from multav.synthetic.view import extent, look, shrink

_STREAM = 0x63726F70


def moving_crops(
    pictures: Sequence[NDArray[np.uint8]],
    indices: Iterable[int],
    *,
    seed: int,
    frames: int = FRAMES,
    pixels: int = PIXELS,
    ranges: PathRanges | None = None,
) -> LabelledClips:
    """Clips that a moving camera takes of `pictures`, each uint8 (H,W,3) RGB of at least `pixels` a side.

    Clip `i` of a seed is always the same: its class is `i % 10`, its picture and path are random. The view is
    half to all of the largest square whose whole way fits into the picture.
    """
    chosen = list(indices)
    clips = np.empty((len(chosen), 3, frames, pixels, pixels), np.uint8)
    for clip, index in zip(clips, chosen, strict=True):
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM, index)))
        picture = pictures[int(generator.integers(len(pictures)))]
        path = draw_path(MOTIONS[label_of(index)], generator, frames=frames, ranges=ranges)
        height, width = picture.shape[:2]
        left, top, right, bottom = extent(path)
        side = min(width / (right - left), height / (bottom - top)) * generator.uniform(0.5, 1)
        centre = (
            generator.uniform(-left * side, width - right * side),
            generator.uniform(-top * side, height - bottom * side),
        )
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)
        seen = look(planes, path, centre=centre, side=side, pixels=max(pixels, round(side)))
        clip[...] = np.round(shrink(seen, pixels=pixels)).clip(0, 255).swapaxes(0, 1)
    return LabelledClips(clips, np.array([label_of(index) for index in chosen], np.int64))
