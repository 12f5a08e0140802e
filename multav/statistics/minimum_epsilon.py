"""How the smallest bound that fools a model is distributed over the clips."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from multav.statistics.rates import LEVEL

SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
"""The quantiles of a report."""
_MOST_STEPS: Final = 200


@dataclass(frozen=True)
class Quantile:
    """The bound at which `share` of the clips are fooled, with an interval from order statistics.

    None is "above the largest bound that was tried", of `value` and `high` and `low` alike.
    """

    share: float
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Step:
    """At `epsilon` the share of fooled clips has reached `share`."""

    epsilon: float
    share: float


@dataclass(frozen=True)
class MinimumEpsilons:
    """The distribution over `clips`; `above` of them were not fooled up to `largest`, the largest bound tried.

    `steps` is the empirical distribution function, thinned to at most 200 steps. Since clips are only ever cut off at
    the same top, it is the Kaplan-Meier curve as well.
    """

    clips: int
    above: int
    largest: float
    quantiles: tuple[Quantile, ...]
    steps: tuple[Step, ...]


def minimum_epsilons(
    found: NDArray[np.floating[Any]], largest: float, *, nothing: float = 0.0
) -> MinimumEpsilons:
    """Of `found` (clips,): the smallest bound that fooled the model on each clip, NaN where none up to `largest` did.

    `nothing` is the bound that allows no change: 0 of a difference or a length, 1 of a ratio.

    Raises `ValueError` for a bound above `largest`.
    """
    if np.any(found > largest * (1 + 1e-9)):
        raise ValueError(f"a smallest bound lies above the largest that was tried, {largest:g}")
    ordered = np.sort(np.where(np.isnan(found), np.inf, found))
    clips, above = ordered.size, int(np.count_nonzero(np.isinf(ordered)))
    return MinimumEpsilons(
        clips=clips,
        above=above,
        largest=largest,
        quantiles=tuple(_quantile(ordered, share, nothing) for share in SHARES) if clips else (),
        steps=_steps(ordered[: clips - above], clips),
    )


def _quantile(ordered: NDArray[np.floating[Any]], share: float, nothing: float) -> Quantile:
    """The smallest bound at which at least `share` of the clips are fooled.

    The number of clips below the true quantile is binomial, so two order statistics enclose it with at least 95 %
    (David & Nagaraja, Order Statistics, 7.1), whatever the distribution.
    """
    clips = ordered.size
    low = int(binom.ppf((1 - LEVEL) / 2, clips, share))
    high = int(binom.ppf((1 + LEVEL) / 2, clips, share)) + 1
    # Both are ranks from 1. Few clips may say nothing from below (rank 0), or from above (beyond the last).
    value = ordered[max(0, int(np.ceil(share * clips - 1e-9)) - 1)]
    return Quantile(
        share=share,
        value=_finite(value),
        low=_finite(ordered[low - 1]) if low >= 1 else nothing,
        high=_finite(ordered[high - 1]) if high <= clips else None,
    )


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _steps(fooled: NDArray[np.floating[Any]], clips: int) -> tuple[Step, ...]:
    values, counts = np.unique(fooled, return_counts=True)
    shares = np.cumsum(counts) / clips if clips else counts
    kept = np.arange(values.size)
    if values.size > _MOST_STEPS:
        kept = np.unique(np.linspace(0, values.size - 1, _MOST_STEPS).round().astype(np.intp))
    return tuple(Step(float(values[k]), float(shares[k])) for k in kept)
