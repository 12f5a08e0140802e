"""Table 1 as it was measured beside the printed one: accuracies with intervals, and each gap between Mult and Add."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from multav.reports.wording import p_value
from multav.reproduction.measured import Findings, Hits, Measured
from multav.reproduction.plan import MULTIPLICATIVE, Row
from multav.reproduction.pooled_gaps import PooledGap, pooled_gaps
from multav.reproduction.printed import CLEAN, NETWORKS, Column, NetworkKey, Training, printed
from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.holm import holm
from multav.statistics.paired import PairedDifference, paired_difference
from multav.statistics.rates import Rate

_ROWS: dict[Row, str] = {
    "clean": "clean",
    "mult": "MultAV",
    "add": "additive",
    "matched": "additive, budget of MultAV",
}
_COLUMNS: dict[Column, str] = {
    "linf": "MultAV-linf",
    "l2": "MultAV-l2",
    "roa": "MultAV-ROA",
    "af": "MultAV-AF",
    "spa": "MultAV-SPA",
}
_COMPARED: tuple[Row, ...] = ("add", "matched")
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Gap:
    """Accuracy under one column's attack of a model trained on `row`, less that of the one trained on MultAV."""

    network: NetworkKey
    column: Column
    row: Row
    seed: int
    found: PairedDifference
    adjusted_p: float
    printed: float | None

    @property
    def significant(self) -> bool:
        """Whether the gap is more than chance, all gaps of its kind taken together."""
        return self.adjusted_p < SIGNIFICANT


def gaps(measured: Sequence[Measured], row: Row = "add") -> list[Gap]:
    """Every gap of that row to MultAV's, on the same clips, where both were measured; p-values are Holm's over all."""
    found = []
    for other in measured:
        planned = other.planned
        if planned.row != row or planned.column is None:
            continue
        mult = next(
            (
                each
                for each in measured
                if each.planned.row == "mult"
                and (each.planned.network, each.planned.column, each.planned.seed)
                == (planned.network, planned.column, planned.seed)
            ),
            None,
        )
        if mult is None:
            continue
        kind = MULTIPLICATIVE[planned.column]
        found.append((planned, paired_difference(other.under(kind), mult.under(kind), Groups(other.groups))))
    # Where every clip is its own group this is McNemar's.
    adjusted = holm([difference.p_by_group for _, difference in found])
    return [
        Gap(
            planned.network,
            planned.column,  # type: ignore[arg-type]  # asked for above
            row,
            planned.seed,
            difference,
            p,
            _printed_gap(planned.network, planned.column) if row == "add" else None,  # type: ignore[arg-type]
        )
        for (planned, difference), p in zip(found, adjusted, strict=True)
    ]


def _printed_gap(network: NetworkKey, column: Column) -> float | None:
    add, mult = printed(network, "add", column), printed(network, "mult", column)
    return None if add is None or mult is None else add - mult


def markdown(findings: Findings) -> str:
    """Accuracies, gaps, and what may be said of them."""
    measured = findings.measured
    parts = [_about_the_clips(findings), _accuracies(measured)]
    for row in _COMPARED:
        found = gaps(measured, row)
        if found:
            parts.append(_gap_table(row, found))
    pooled = [gap for row in _COMPARED for gap in pooled_gaps(measured, row)]
    if pooled:
        parts.append(_pooled_table(pooled))
    parts.append(reading(measured))
    return "\n\n".join(part for part in parts if part) + "\n"


def _about_the_clips(findings: Findings) -> str:
    """How many clips all figures are of, and what is missing."""
    clips, groups = len(findings.measured[0].groups), len(set(findings.measured[0].groups))
    said = f"All figures are of the same {clips} test clips"
    said += "." if groups == clips else f", cut from {groups} recordings."
    if findings.clips_left_out:
        said += f" {findings.clips_left_out} more are left out: an audit had no answer for them."
    if findings.failed:
        first = findings.failed[0]
        said += (
            f" **Incomplete**: {len(findings.failed)} jobs did not succeed (such as {first['kind']} {first['id']}); "
            "what hangs on them is missing below."
        )
    return said


def _accuracies(measured: Sequence[Measured]) -> str:
    columns = [column for column in _COLUMNS if any(column == each.planned.column for each in measured)]
    groups = Groups(measured[0].groups)
    how = "Wilson" if groups.alone else "whole recordings drawn again"
    lines = [
        f"Accuracy in per cent with its 95 % interval ({how}); in brackets what the paper prints.",
        "",
        f"| network | trained on | seed | clean | {' | '.join(_COLUMNS[column] for column in columns)} |",
        f"|---|---|---|{'---|' * (len(columns) + 1)}",
    ]
    for network, row, seed, of in _table_rows(measured):
        cells = [_clean(network, row, of, groups)]
        for column in columns:
            hits = of.get(column)
            cells.append(
                "" if hits is None else _figure(_rate(hits[1], groups), _printed(network, row, column))
            )
        lines.append(f"| {NETWORKS[network]} | {_ROWS[row]} | {seed} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rate(hits: Hits, groups: Groups) -> Rate:
    (rate,) = groups.rates(hits[:, None], np.ones((hits.size, 1), dtype=np.bool_))
    return rate


_Hits = dict[Column, tuple[Hits, Hits]]


def _table_rows(measured: Sequence[Measured]) -> Iterator[tuple[NetworkKey, Row, int, _Hits]]:
    """By network, row and seed the clean and attacked answers by column; what a clean model says of all."""
    for network in NETWORKS:
        for row in _ROWS:
            of = [each for each in measured if (each.planned.network, each.planned.row) == (network, row)]
            for seed in sorted({each.planned.seed for each in of}):
                found: _Hits = {}
                for each in of:
                    if each.planned.seed == seed:
                        for column in each.planned.audited_columns:
                            found[column] = (each.right["clean"], each.under(MULTIPLICATIVE[column]))
                yield network, row, seed, found


def _clean(network: NetworkKey, row: Row, of: _Hits, groups: Groups) -> str:
    """Of a clean model its accuracy; of a row of hardened ones, each of which has its own, lowest to highest."""
    rates = [_rate(clean, groups) for clean, _ in of.values()]
    if row == "clean":
        return _figure(rates[0], CLEAN[network])
    values = sorted(100 * rate.value for rate in rates if rate.value is not None)
    return f"{values[0]:.1f}" if len(values) == 1 else f"{values[0]:.1f} to {values[-1]:.1f}"


def _printed(network: NetworkKey, row: Row, column: Column) -> float | None:
    as_printed: dict[Row, Training] = {"clean": "clean", "mult": "mult", "add": "add"}
    return printed(network, as_printed[row], column) if row in as_printed else None


def _figure(rate: Rate, on_paper: float | None) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "-"
    low, high = (rate.low, rate.high) if rate.by_group is None else (rate.by_group.low, rate.by_group.high)
    said = "" if on_paper is None else f" [{on_paper:.2f}]"
    return f"{100 * rate.value:.1f} ({100 * low:.1f} to {100 * high:.1f}){said}"


def _gap_table(row: Row, found: Sequence[Gap]) -> str:
    lines = [
        f"Gap in points: trained on {_ROWS[row]} less trained on MultAV, under the column's MultAV attack, on the same "
        "clips. p: McNemar's exact test (of clips cut from the same recording: exact sign flips of whole recordings), "
        "adjusted by Holm over the rows of this table.",
        "",
        "| network | attack | seed | gap | 95 % interval | right only with MultAV, only without | p | printed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for gap in found:
        of = gap.found
        ends = of.by_group or of.newcombe
        interval = "-" if ends is None else f"{100 * ends.low:+.1f} to {100 * ends.high:+.1f}"
        lines.append(
            f"| {NETWORKS[gap.network]} | {_COLUMNS[gap.column]} | {gap.seed} | {100 * (of.difference or 0):+.1f} "
            f"| {interval} | {of.only_second}, {of.only_first} | {p_value(gap.adjusted_p)} "
            f"| {'' if gap.printed is None else f'{gap.printed:+.2f}'} |"
        )
    return "\n".join(lines)


def _pooled_table(found: Sequence[PooledGap]) -> str:
    lines = [
        "The same gaps over all training seeds together. Interval (bootstrap) and p (sign flips) take each clip (or "
        "recording) with all its answers for one; the last column has the gap of each seed: their spread is a "
        "training's luck.",
        "",
        "| network | attack | trained on, less MultAV | gap | 95 % interval | p | seed by seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for gap in found:
        of = gap.found
        network = "all together" if gap.network is None else NETWORKS[gap.network]
        interval = (
            "-" if of.by_group is None else f"{100 * of.by_group.low:+.1f} to {100 * of.by_group.high:+.1f}"
        )
        p = "-" if of.p_by_group is None else p_value(of.p_by_group)
        seeds = ", ".join(f"{100 * value:+.1f}" for value in gap.by_seed)
        lines.append(
            f"| {network} | {_COLUMNS[gap.column]} | {_ROWS[gap.row]} | {100 * (of.difference or 0):+.1f} | {interval} "
            f"| {p} | {seeds} |"
        )
    return "\n".join(lines)


def reading(measured: Sequence[Measured]) -> str:
    """What the tables say, in sentences that are true of any findings."""
    sentences = []
    for row, question in (
        ("add", "The paper's ordering (hardened with the additive attack less accurate)"),
        ("matched", "With an additive attack that moves pixels as far on average, the same ordering"),
    ):
        found = gaps(measured, row)  # type: ignore[arg-type]  # both are rows
        if not found:
            continue
        below = [gap for gap in found if (gap.found.difference or 0) < 0]
        sure = [gap for gap in below if gap.significant]
        against = [gap for gap in found if (gap.found.difference or 0) > 0 and gap.significant]
        sentences.append(
            f"{question} shows in {len(below)} of {len(found)} comparisons, beyond chance in {len(sure)}; the opposite "
            f"is beyond chance in {len(against)}."
        )
    return " ".join(sentences)
