"""Two yes-or-no questions to the same clips: by how much do the answers differ, and is that more than chance?"""

from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.rates import Interval, rate
from multav.statistics.sign_flips import sign_flip_p

Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class PairedDifference:
    """How two yes-or-no answers per clip differ.

    `both`, `only_first`, `only_second` and `neither` count clips. `difference` is the first share minus the second, in
    [-1, 1], None without clips. `newcombe` takes clips for independent, `by_group` resamples whole groups (None where
    that says nothing: see `Rate`). `p` is McNemar's exact test (two-sided), `mid_p` its mid-p version, which is less
    conservative with few discordant clips; `p_by_group` flips the signs of whole groups, and is `p` where every clip
    is its own group.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float | None
    newcombe: Interval | None
    by_group: Interval | None
    p: float
    mid_p: float
    p_by_group: float


def paired_difference(first: Hits, second: Hits, groups: Groups) -> PairedDifference:
    """Compare `first` with `second`, both (clips,) on the same clips in the same order, of which `groups` has each.

    Raises `ValueError` where the lengths differ.
    """
    (found,) = paired_differences(
        first[:, None], second[:, None], np.ones((first.size, 1), dtype=np.bool_), groups
    )
    return found


def paired_differences(first: Hits, second: Hits, seen: Hits, groups: Groups) -> list[PairedDifference]:
    """Compare every column of `first` with that of `second`, on the clips that are `seen`; all are (clips, columns).

    Groups are drawn once for all columns. Raises `ValueError` where the shapes differ.
    """
    if not first.shape == second.shape == seen.shape or groups.clips != first.shape[0]:
        raise ValueError("both answers must be on the same clips")
    change: NDArray[Any] = np.where(seen, first.astype(np.float64) - second, np.nan)
    if groups.alone:
        return [_compared(first[seen[:, k], k], second[seen[:, k], k]) for k in range(first.shape[1])]
    intervals = groups.intervals(change)
    counts = np.rint(groups.sums(np.nan_to_num(change))).astype(np.int64)
    return [
        replace(
            _compared(first[seen[:, k], k], second[seen[:, k], k]),
            by_group=intervals[k],
            p_by_group=sign_flip_p(counts[:, k]),
        )
        for k in range(first.shape[1])
    ]


def _compared(first: Hits, second: Hits) -> PairedDifference:
    both = int(np.count_nonzero(first & second))
    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(~first & second))
    neither = first.size - both - only_first - only_second
    p, mid_p = mcnemar(only_first, only_second)
    return PairedDifference(
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=neither,
        difference=(only_first - only_second) / first.size if first.size else None,
        newcombe=newcombe(both, only_first, only_second, neither),
        by_group=None,
        p=p,
        mid_p=mid_p,
        p_by_group=p,
    )


def mcnemar(only_first: int, only_second: int) -> tuple[float, float]:
    """McNemar's exact two-sided p-value and its mid-p, from the clips on which the answers differ (McNemar 1947).

    Under no difference each of them is a fair coin. Mid-p counts what was observed by half (Fagerland, Lydersen, Laake
    2013). Both are 1 where the answers never differ.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0, 1.0
    rarer = min(only_first, only_second)
    # A fair coin is symmetric: both tails are equal.
    tails = 2 * float(binom.cdf(rarer, discordant, 0.5))
    return min(1.0, tails), min(1.0, tails - float(binom.pmf(rarer, discordant, 0.5)))


def newcombe(both: int, only_first: int, only_second: int, neither: int) -> Interval | None:
    """Newcombe's interval for a paired difference: method 10 of Newcombe (1998), from two Wilson intervals.

    The intervals of the two shares are joined with their correlation, which is corrected for continuity. None without
    clips.
    """
    of = both + only_first + only_second + neither
    if of == 0:
        return None
    first, second = rate(both + only_first, of), rate(both + only_second, of)
    p1, l1, u1 = _ends(first)
    p2, l2, u2 = _ends(second)
    phi = _correlation(both, only_first, only_second, neither)
    difference = (only_first - only_second) / of
    # A difference of two rounded squares may fall below 0.
    down = sqrt(max(0.0, (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2))
    up = sqrt(max(0.0, (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2))
    return Interval(max(-1.0, difference - down), min(1.0, difference + up))


def _ends(of: Any) -> tuple[float, float, float]:
    return of.value, of.low, of.high


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    product = both * neither - only_first * only_second
    half = (both + only_first + only_second + neither) / 2
    corrected = product if product < 0 else max(product - half, 0.0)
    return float(corrected / sqrt(margins))
