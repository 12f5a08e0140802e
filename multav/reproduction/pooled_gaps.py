"""A gap over several training seeds taken together: each clip is asked once for every seed, with its group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multav.reproduction.measured import Measured
from multav.reproduction.plan import MULTIPLICATIVE, Row
from multav.reproduction.printed import Column, NetworkKey
from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.paired import PairedDifference, paired_difference


@dataclass(frozen=True)
class PooledGap:
    """Models trained on `row` less those trained on MultAV under the column's attack, over all `seeds`.

    `by_seed` are the gaps of the single seeds in [-1, 1]; their spread is what another training would change. Interval
    and p-value of `found` (`by_group`, `p_by_group`) speak of other clips, not of other seeds. `network` is None where
    all networks are taken together.
    """

    network: NetworkKey | None
    column: Column
    row: Row
    seeds: tuple[int, ...]
    found: PairedDifference
    by_seed: tuple[float, ...]


def pooled_gaps(measured: Sequence[Measured], row: Row) -> list[PooledGap]:
    """Of every network, and of all together, for each column that was trained with several seeds."""
    pairs = [
        (other, mult)
        for other in measured
        for mult in measured
        if other.planned.row == row
        and mult.planned.row == "mult"
        and _place(other) == _place(mult)
        and other.planned.column is not None
    ]
    found = []
    for column in sorted({str(other.planned.column) for other, _ in pairs}):
        of_column = [pair for pair in pairs if pair[0].planned.column == column]
        networks = list(dict.fromkeys(other.planned.network for other, _ in of_column))
        seeds = tuple(sorted({other.planned.seed for other, _ in of_column}))
        if len(seeds) < 2:
            continue
        for network in [*networks, *([None] if len(networks) > 1 else [])]:
            chosen = [pair for pair in of_column if network in (None, pair[0].planned.network)]
            found.append(_pooled(network, row, seeds, chosen))
    return found


def _pooled(
    network: NetworkKey | None, row: Row, seeds: tuple[int, ...], pairs: Sequence[tuple[Measured, Measured]]
) -> PooledGap:
    column = pairs[0][0].planned.column
    assert column is not None, "only such are paired"
    kind = MULTIPLICATIVE[column]
    first = [other.under(kind) for other, _ in pairs]
    second = [mult.under(kind) for _, mult in pairs]
    groups = [group for other, _ in pairs for group in other.groups]
    by_seed = []
    for seed in seeds:
        of_seed = [
            float(other.under(kind).mean() - mult.under(kind).mean())
            for other, mult in pairs
            if other.planned.seed == seed
        ]
        by_seed.append(float(np.mean(of_seed)))
    return PooledGap(
        network,
        column,
        row,
        seeds,
        paired_difference(np.concatenate(first), np.concatenate(second), Groups(groups)),
        tuple(by_seed),
    )


def _place(each: Measured) -> tuple[NetworkKey, Column | None, int]:
    planned = each.planned
    return planned.network, planned.column, planned.seed
