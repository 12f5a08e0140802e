"""Accuracy against the bound: a curve from the clean clips to the largest epsilon, and the area under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.paired import mcnemar
from multav.statistics.rates import Interval, Rate

Scale = Literal["log(epsilon)", "epsilon"]
Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy at one bound; `epsilon` is the threat model's own number (1 of a ratio, 0 of a distance: clean)."""

    epsilon: float
    accuracy: Rate


@dataclass(frozen=True)
class Rise:
    """A larger bound at which the model was right more often, which a complete attack cannot bring about.

    `p` is McNemar's exact test on the clips of both bounds: a small one says that it was no accident.
    """

    smaller: float
    larger: float
    by: float
    p: float


@dataclass(frozen=True)
class AccuracyCurve:
    """Points in order of epsilon, the clean one first.

    `area` is the mean accuracy over all bounds from none to the largest, evenly spread over `scale`: 1 for a model
    that is always right, None without clips. `clips` have an outcome at every bound, and only they are in it.
    `area_interval` resamples groups of clips. `monotone` says that accuracy never rises with the bound; `rises` lists
    where it does.
    """

    scale: Scale
    points: tuple[CurvePoint, ...]
    clips: int
    area: float | None
    area_interval: Interval | None
    monotone: bool
    rises: tuple[Rise, ...]


def accuracy_curve(
    epsilons: Sequence[float],
    right: Hits,
    seen: Hits,
    groups: Groups,
    *,
    scale: Scale,
    accuracies: Sequence[Rate] | None = None,
) -> AccuracyCurve:
    """The curve through `epsilons`, which rise from the clean clips' 1 (`scale` "log(epsilon)") or 0 ("epsilon").

    `right` and `seen` are (clips, epsilons): whether the model was right, and whether the clip was tried there.
    `accuracies` are the rates at each if they are known already. Raises `ValueError` for epsilons that do not rise.
    """
    at = np.array([log(epsilon) if scale == "log(epsilon)" else epsilon for epsilon in epsilons])
    if len(at) < 2 or np.any(np.diff(at) <= 0):
        raise ValueError("a curve goes through at least two bounds, each larger than the one before")
    rates = accuracies if accuracies is not None else groups.rates(right, seen)
    everywhere = seen.all(axis=1)
    # The trapezoidal rule gives each bound a weight, so the area of the mean is the mean of each clip's own area.
    steps = np.diff(at)
    weights = (np.append(steps, 0) + np.insert(steps, 0, 0)) / 2 / (at[-1] - at[0])
    own: NDArray[np.float64] = np.where(everywhere, right @ weights, np.nan)
    clips = int(np.count_nonzero(everywhere))
    (interval,) = groups.intervals(own[:, None])
    rises = tuple(_rises(epsilons, right, seen))
    return AccuracyCurve(
        scale=scale,
        points=tuple(CurvePoint(*point) for point in zip(epsilons, rates, strict=True)),
        clips=clips,
        area=float(np.nanmean(own)) if clips else None,
        area_interval=interval,
        monotone=not rises,
        rises=rises,
    )


def _rises(epsilons: Sequence[float], right: Hits, seen: Hits) -> list[Rise]:
    found = []
    for index in range(1, len(epsilons)):
        common = seen[:, index - 1] & seen[:, index]
        lost = int(np.count_nonzero(right[common, index - 1] & ~right[common, index]))
        won = int(np.count_nonzero(~right[common, index - 1] & right[common, index]))
        if won > lost:
            by = (won - lost) / int(np.count_nonzero(common))
            found.append(Rise(epsilons[index - 1], epsilons[index], by, mcnemar(lost, won)[0]))
    return found
