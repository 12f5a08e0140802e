"""By which factor every pixel was multiplied, relative to the bound."""

from math import isfinite, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from multav.figures.diverging_colours import diverging
from multav.figures.levels import Levels, Picture, Pictures, pair_of

# A black value has no logarithm: this stands in for it and is never seen.
_TINY: Final = np.float32(1e-30)
_LOGARITHMS: Final = np.log(np.maximum(np.arange(256, dtype=np.float32), _TINY))


def ratio_map(clean: Pictures, adversarial: Pictures, epsilon: float) -> Picture:
    """The ratio adversarial / clean in colours: dark red at `epsilon`, near white at 1, dark blue at 1 / `epsilon`.

    The number behind a pixel's colour is log(x'/x) / log(epsilon), limited to -1..1 and averaged over the three
    channels. A black value has no ratio and counts as unchanged. Under a ratio bound the map is as strong in the
    shade as in the light, where a difference map follows the brightness; 8-bit levels below 1 / (epsilon - 1)
    cannot move and stay white.

    Pictures and result as in `multav.figures`. Raises `TypeError` or `ValueError` for pictures that are none, and
    for an `epsilon` that is not above 1.
    """
    return diverging(ratio_shares(clean, adversarial, epsilon))


def ratio_shares(clean: Pictures, adversarial: Pictures, epsilon: float) -> NDArray[np.float32]:
    """How much of the ratio bound each pixel uses up, (..., H, W) in -1..1: the numbers behind `ratio_map`."""
    if not epsilon > 1 or not isfinite(epsilon):
        raise ValueError(f"epsilon={epsilon:g} is no ratio to compare with: it must be above 1")
    before, after = pair_of(clean, adversarial)
    mean = np.zeros(before.shape[:-1], dtype=np.float32)
    # One channel after the other: arrays of a third of the size stay in the heap, and none is mapped afresh.
    for channel in range(3):
        dark, share = before[..., channel] == 0, _logarithms(after[..., channel])
        share -= _logarithms(before[..., channel])
        share *= np.float32(1 / log(epsilon))
        np.clip(share, -1, 1, out=share)
        # Multiplied, not assigned: an index of this kind takes longer than all the rest.
        share *= ~dark
        mean += share
    mean /= 3
    return mean


def _logarithms(levels: Levels) -> NDArray[np.float32]:
    if levels.dtype == np.uint8:
        return _LOGARITHMS.take(levels.astype(np.intp))
    return np.log(np.maximum(levels, _TINY, dtype=np.float32))
