"""A share of clips with its uncertainty: k of n, and Wilson's interval."""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

LEVEL: Final = 0.95
"""Confidence of every interval of a report."""

# Written out below: SciPy's binomtest gives the same ends, and a p-value that takes a hundred times as long.
_Z: Final = float(ndtri((1 + LEVEL) / 2))


@dataclass(frozen=True)
class Interval:
    """Both ends of an interval, in the unit of what it is an interval of."""

    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """`count` of `of` clips; `value`, `low` and `high` are shares in [0, 1], None where there was no clip.

    `low` and `high` are Wilson's interval, which takes clips for independent. `by_group` resamples whole groups of
    clips instead; None where every clip is its own group, or where all clips or none are counted (resampling says
    nothing there, and Wilson's interval stands).
    """

    count: int
    of: int
    value: float | None
    low: float | None
    high: float | None
    by_group: Interval | None = None


@lru_cache(maxsize=65536)
def rate(count: int, of: int) -> Rate:
    """`count` of `of` with Wilson's score interval at 95 % (Wilson 1927).

    It keeps its promise near 0 and 1, where the textbook interval shrinks to a point (Brown, Cai, DasGupta 2001).
    Raises `ValueError` unless 0 <= count <= of.
    """
    if not 0 <= count <= of:
        raise ValueError(f"{count} of {of} is no share")
    if of == 0:
        return Rate(0, 0, None, None, None)
    share = count / of
    middle = (share + _Z**2 / (2 * of)) / (1 + _Z**2 / of)
    half = _Z / (1 + _Z**2 / of) * sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    # Rounding may leave the ends at 1e-17 beside the exact 0 and 1.
    low = 0.0 if count == 0 else middle - half
    high = 1.0 if count == of else middle + half
    return Rate(count, of, share, low, high)


def rate_of(hits: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Rate:
    """How many of the clips `among` (all if None) are `hits`; both are (clips,)."""
    chosen: NDArray[Any] = hits if among is None else hits[among]
    return rate(int(np.count_nonzero(chosen)), int(chosen.size))
