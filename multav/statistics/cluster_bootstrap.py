"""Intervals that know that clips cut from the same video are not independent: whole groups are drawn again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from multav.statistics.rates import LEVEL, Interval, Rate, rate_of

RESAMPLES: Final = 4000
_SEED: Final = 20200917
# Weights of so many (resample, group) pairs are held at once: 16 MB.
_AT_ONCE: Final = 4_000_000

Values = NDArray[np.float64]


class Groups:
    """Which clips belong together. `names` has the group of each clip, in the clips' order."""

    def __init__(self, names: Sequence[str]) -> None:
        found, self._group = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)
        self.count = len(found)
        self.clips = len(names)

    @property
    def alone(self) -> bool:
        """Whether every clip is its own group, so that nothing is gained by resampling groups."""
        return self.count == self.clips

    def sums(self, values: Values) -> Values:
        """(groups, columns): the sum of `values` (clips, columns) over the clips of each group."""
        return np.stack(
            [np.bincount(self._group, weights=column, minlength=self.count) for column in values.T], axis=1
        )

    def intervals(self, values: Values) -> list[Interval | None]:
        """An interval for the mean of every column of `values` (clips, columns); NaN marks clips not counted.

        Groups are drawn with replacement, `RESAMPLES` times with a fixed seed, and the mean is taken over the clips of
        the drawn groups. Ends are bias-corrected and accelerated (BCa; Efron 1987), the acceleration from leaving out
        one group after the other. None for a column whose resampled means are all equal, or that has fewer than two
        groups.
        """
        if self.clips == 0 or values.shape[1] == 0:
            return [None] * values.shape[1]
        counted = ~np.isnan(values)
        sums, sizes = self.sums(np.where(counted, values, 0.0)), self.sums(counted.astype(np.float64))
        drawn = self._resampled(sums, sizes)
        totals, clips = sums.sum(axis=0), sizes.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            left_out = (totals - sums) / (clips - sizes)
            means = totals / clips
        return [_bca(means[k], drawn[:, k], left_out[sizes[:, k] > 0, k]) for k in range(values.shape[1])]

    def rates(self, hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> list[Rate]:
        """The share of `hits` `among` the clips, for every column of both (clips, columns), with both intervals."""
        counted = [rate_of(hits[:, k], among[:, k]) for k in range(hits.shape[1])]
        if self.alone:
            return counted
        found = self.intervals(np.where(among, hits.astype(np.float64), np.nan))
        return [replace(each, by_group=interval) for each, interval in zip(counted, found, strict=True)]

    def _resampled(self, sums: Values, sizes: Values) -> Values:
        """(resamples, columns): the mean over the clips of the drawn groups; NaN where none of them counts."""
        drawn = [_divided(weights @ sums, weights @ sizes) for weights in _weights(self.count)]
        return np.concatenate(drawn)


def _weights(groups: int) -> Iterator[Values]:
    """(some resamples, groups): how often each group was drawn; all `RESAMPLES` of them, the same every time."""
    generator = np.random.default_rng(_SEED)
    rows = max(1, min(RESAMPLES, _AT_ONCE // groups))
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        chosen = generator.integers(0, groups, size=(size, groups))
        chosen += np.arange(size)[:, None] * groups
        yield np.bincount(chosen.ravel(), minlength=size * groups).reshape(size, groups).astype(np.float64)


def _divided(sums: Values, sizes: Values) -> Values:
    return np.divide(sums, sizes, out=np.full_like(sums, np.nan), where=sizes > 0)


def _bca(mean: Any, drawn: Values, left_out: Values) -> Interval | None:
    drawn = drawn[~np.isnan(drawn)]
    # Rounding alone may tell equal means apart.
    if len(left_out) < 2 or drawn.size == 0 or np.ptp(drawn) < 1e-12:
        return None
    below = (np.count_nonzero(drawn < mean - 1e-12) + np.count_nonzero(drawn <= mean + 1e-12)) / 2
    bias = ndtri(np.clip(below / drawn.size, 1 / drawn.size, 1 - 1 / drawn.size))
    away = left_out.mean() - left_out
    spread = float(np.sum(away**2))
    acceleration = float(np.sum(away**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    ends = bias + ndtri(np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    low, high = np.quantile(drawn, ndtr(bias + ends / (1 - acceleration * ends)))
    return Interval(float(low), float(high))
