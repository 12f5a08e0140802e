"""Who held more videos: multiplicative attacks against their additive twins, and model against model. Torch-free."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np

from multav.audits.cells import Cell
from multav.audits.outcome import CLEAN
from multav.reports.model_numbers import families
from multav.reports.outcome_columns import OutcomeColumns
from multav.reports.summary import SIGNIFICANT, Comparison, Side
from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.holm import holm
from multav.statistics.paired import paired_differences
from multav.statistics.rates import rate

TWINS: Final = {
    "multav-linf": "pgd-linf",
    "multav-l2": "pgd-l2",
    "multav-roa": "roa",
    "multav-af": "af",
    "multav-spa": "spa",
    "apgd-ratio": "apgd-linf",
}
"""Multiplicative kinds with the additive kind that shares ball and region."""

MOST_MODELS_IN_PAIRS: Final = 6
"""Up to so many models every pair is compared, beyond it each with the first one."""

Question = Literal["multiplicative or additive", "model or model"]


@dataclass(frozen=True)
class _Pair:
    first: tuple[str, str]
    second: tuple[str, str]


def comparisons(
    models: Sequence[str], cells: Sequence[Cell], outcomes: OutcomeColumns, groups: Groups
) -> list[Comparison]:
    """All comparisons that an audit can answer, each question with Holm's correction of its own."""
    twins = [_Pair((model, one), (model, other)) for model in models for one, other in twin_cells(cells)]
    pairs = list(combinations(models, 2))
    if len(models) > MOST_MODELS_IN_PAIRS:
        pairs = [(models[0], other) for other in models[1:]]
    named = [CLEAN, *(cell.name for cell in cells)]
    between = [_Pair((one, cell), (other, cell)) for one, other in pairs for cell in named]
    return [
        *_answered("multiplicative or additive", twins, outcomes, groups),
        *_answered("model or model", between, outcomes, groups),
    ]


def twin_cells(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Names of multiplicative cells with their additive twins.

    Their bounds have different units. Grids of equal length are paired bound by bound from the smallest; of others
    only the largest bounds are.
    """
    by_family = families(cells)
    found: list[tuple[str, str]] = []
    for family, members in by_family.items():
        kind, _, setting = family.partition("#")
        twin = TWINS.get(kind, "") + (f"#{setting}" if setting else "")
        others = by_family.get(twin, [])
        if others:
            paired = (
                zip(members, others, strict=True)
                if len(members) == len(others)
                else [(members[-1], others[-1])]
            )
            found += [(cells[one].name, cells[other].name) for one, other in paired]
    return found


def _answered(
    question: Question, pairs: Sequence[_Pair], outcomes: OutcomeColumns, groups: Groups
) -> list[Comparison]:
    """The pairs that have clips in common, compared on these."""
    sides = [(outcomes.of(*pair.first), outcomes.of(*pair.second)) for pair in pairs]
    asked = [
        (pair, side) for pair, side in zip(pairs, sides, strict=True) if np.any(side[0].seen & side[1].seen)
    ]
    if not asked:
        return []
    first = np.column_stack([one.right for _, (one, _) in asked])
    second = np.column_stack([other.right for _, (_, other) in asked])
    seen = np.column_stack([one.seen & other.seen for _, (one, other) in asked])
    differences = paired_differences(first, second, seen, groups)
    adjusted = holm([each.p_by_group for each in differences])
    found = []
    for (pair, _), paired, p_holm in zip(asked, differences, adjusted, strict=True):
        of = paired.both + paired.only_first + paired.only_second + paired.neither
        found.append(
            Comparison(
                question=question,
                first=Side(
                    model=pair.first[0],
                    cell=pair.first[1],
                    accuracy=rate(paired.both + paired.only_first, of),
                ),
                second=Side(
                    model=pair.second[0],
                    cell=pair.second[1],
                    accuracy=rate(paired.both + paired.only_second, of),
                ),
                paired=paired,
                p_holm=p_holm,
                among=len(asked),
                significant=p_holm < SIGNIFICANT,
            )
        )
    return found
