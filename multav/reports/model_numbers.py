"""Everything that an audit's outcomes say of one model on its own. Torch-free."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from multav.audits.cells import Cell
from multav.audits.findings import Check, Verdict
from multav.audits.outcome import CLEAN
from multav.reports.bound_unit import bound_unit
from multav.reports.outcome_columns import NOTHING, Columns, OutcomeColumns
from multav.reports.summary import (
    CellNumbers,
    ClassRow,
    Confusion,
    FamilyCurve,
    FamilyMinimum,
    ModelNumbers,
    Spread,
    WorstCase,
)
from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.confusion import confusion, entries, hits_per_class
from multav.statistics.curves import AccuracyCurve, accuracy_curve
from multav.statistics.minimum_epsilon import minimum_epsilons
from multav.statistics.rates import Rate, rate

ALL_ATTACKS: Final = "all attacks"
Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class _Attacked:
    """All cells of one model side by side; every array is (clips, cells)."""

    clean: Columns
    columns: tuple[Columns, ...]
    seen: Hits
    right: Hits
    known: Hits
    """Right before the attack, and seen under it."""

    @property
    def fooled(self) -> Hits:
        """Known, and wrong under the attack."""
        fooled: Hits = self.known & ~self.right
        return fooled

    def part(self, members: Sequence[int]) -> "_Attacked":
        """Only some of the cells, in that order."""
        chosen = list(members)
        return _Attacked(
            self.clean,
            tuple(self.columns[k] for k in chosen),
            self.seen[:, chosen],
            self.right[:, chosen],
            self.known[:, chosen],
        )


def model_numbers(
    name: str,
    cells: Sequence[Cell],
    outcomes: OutcomeColumns,
    groups: Groups,
    *,
    class_names: Sequence[str],
    minimum_cells: Sequence[Cell],
    checks: Iterable[Check],
    verdict: Verdict | None,
) -> ModelNumbers:
    """The numbers of the model `name` under every one of `cells`, and in `minimum_cells` its smallest bounds."""
    clean = outcomes.of(name, CLEAN)
    attacked = _side_by_side(name, cells, outcomes, clean)
    by_family = families(cells)
    over = {ALL_ATTACKS: list(range(len(cells)))} if cells else {}
    over |= {family: members for family, members in by_family.items() if 1 < len(members) < len(cells)}
    clean_rate, robust, success, worst = _rates(attacked, over, groups)
    return ModelNumbers(
        name=name,
        verdict=verdict,
        checks=tuple(checks),
        clips=groups.clips,
        unread=int(np.count_nonzero(clean.there & ~clean.seen)),
        missing=int(np.count_nonzero(~clean.there)),
        clean=clean_rate,
        confidence=_mean(clean.confidence),
        cells=tuple(
            _cell_numbers(cell, place, attacked, robust[place], success[place])
            for place, cell in enumerate(cells)
        ),
        worst=tuple(
            WorstCase(
                over=each, cells=tuple(cells[k].name for k in members), robust=found[0], success=found[1]
            )
            for (each, members), found in zip(over.items(), worst, strict=True)
        ),
        curves=tuple(
            FamilyCurve(
                family=family,
                unit=bound_unit(cells[members[0]]),
                curve=_curve(
                    [cells[k] for k in members],
                    attacked.part(members),
                    [clean_rate, *(robust[k] for k in members)],
                    groups,
                ),
            )
            for family, members in by_family.items()
        ),
        minimum_epsilons=tuple(_minima(name, minimum_cells, outcomes)),
        classes=_per_class(cells, attacked, outcomes.labels, class_names),
        confusions=tuple(_confusions(cells, by_family, attacked, outcomes.labels, len(class_names))),
    )


def known_before(columns: Columns, clean: Columns, labels: NDArray[np.int64]) -> Hits:
    """Where the model was right before the attack: as the row says, or as the clean row does where it is silent."""
    before = np.where(columns.clean == NOTHING, clean.predicted, columns.clean)
    known: Hits = before == labels
    return known


def families(cells: Sequence[Cell]) -> dict[str, list[int]]:
    """Places of the cells of each family, the smallest epsilon first."""
    found: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        found.setdefault(cell.family, []).append(place)
    return {
        family: sorted(places, key=lambda place: cells[place].attack.epsilon)
        for family, places in found.items()
    }


def _side_by_side(name: str, cells: Sequence[Cell], outcomes: OutcomeColumns, clean: Columns) -> _Attacked:
    columns = tuple(outcomes.of(name, cell.name) for cell in cells)
    shape = (len(outcomes.labels), len(cells))

    def joined(of: Iterable[Hits]) -> Hits:
        return np.column_stack(tuple(of)) if cells else np.zeros(shape, dtype=np.bool_)

    seen = joined(each.seen for each in columns)
    known = joined(known_before(each, clean, outcomes.labels) for each in columns)
    return _Attacked(clean, columns, seen, joined(each.right for each in columns), known & seen)


def _rates(
    attacked: _Attacked, over: Mapping[str, Sequence[int]], groups: Groups
) -> tuple[Rate, list[Rate], list[Rate], list[tuple[Rate, Rate]]]:
    """Clean accuracy; robust accuracy and success of every cell; both for every worst case. All drawn at once."""
    clean, cells = attacked.clean, attacked.seen.shape[1]
    hits: list[Hits] = [clean.right, *attacked.right.T, *attacked.fooled.T]
    among: list[Hits] = [clean.seen, *attacked.seen.T, *attacked.known.T]
    for members in over.values():
        part = attacked.part(members)
        everywhere: Hits = np.all(part.seen, axis=1)
        # An attacker may also leave a clip as it is.
        before = clean.right | part.known.any(axis=1)
        held = before & part.right.all(axis=1)
        hits.extend((everywhere & held, everywhere & before & ~held))
        among.extend((everywhere, everywhere & before))
    found = groups.rates(np.column_stack(hits), np.column_stack(among))
    worst = found[1 + 2 * cells :]
    return (
        found[0],
        found[1 : 1 + cells],
        found[1 + cells : 1 + 2 * cells],
        list(zip(worst[::2], worst[1::2], strict=True)),
    )


def _cell_numbers(cell: Cell, place: int, attacked: _Attacked, robust: Rate, success: Rate) -> CellNumbers:
    clean, columns = attacked.clean, attacked.columns[place]
    broken = clean.there & ~clean.seen
    tried = columns.attacked
    fooled = attacked.fooled
    alone = fooled[:, place] & (np.count_nonzero(fooled, axis=1) == 1)
    return CellNumbers(
        cell=cell.name,
        clips=len(clean.there),
        unread=int(np.count_nonzero(np.where(columns.there, ~columns.seen, broken))),
        missing=int(np.count_nonzero(~columns.there & ~broken)),
        robust=robust,
        success=success,
        attacked=int(np.count_nonzero(tried)),
        size=_spread(columns.size[tried]),
        l2=_spread(columns.l2[tried]),
        changed=_spread(columns.changed[tried]),
        confidence_before=_mean(columns.clean_confidence[tried]),
        confidence_after=_mean(columns.confidence[tried]),
        fooled_here_alone=int(np.count_nonzero(alone)),
        gradients=int(columns.gradients.sum()),
        seconds=float(columns.seconds.sum()),
    )


def _curve(
    cells: Sequence[Cell], attacked: _Attacked, rates: Sequence[Rate], groups: Groups
) -> AccuracyCurve:
    """Cells of one family in order of epsilon, after the clean clips."""
    # Only a bound on each value's own ratio begins at 1; a length of relative changes begins at 0.
    ratio = bound_unit(cells[0]) == "ratio"
    return accuracy_curve(
        [1.0 if ratio else 0.0, *(cell.attack.epsilon for cell in cells)],
        np.column_stack((attacked.clean.right, attacked.right)),
        np.column_stack((attacked.clean.seen, attacked.seen)),
        groups,
        scale="log(epsilon)" if ratio else "epsilon",
        accuracies=rates,
    )


def _minima(name: str, cells: Sequence[Cell], outcomes: OutcomeColumns) -> Iterable[FamilyMinimum]:
    clean = outcomes.of(name, CLEAN)
    for cell in cells:
        columns = outcomes.of(name, cell.name)
        found = columns.epsilon[columns.seen & known_before(columns, clean, outcomes.labels)]
        if found.size:
            # A search may have gone beyond the cell's own bound.
            largest = max(cell.attack.epsilon, float(np.nanmax(found, initial=0.0)))
            yield FamilyMinimum(
                cell=cell.name,
                family=cell.family,
                unit=bound_unit(cell),
                distribution=minimum_epsilons(
                    found, largest, nothing=1.0 if bound_unit(cell) == "ratio" else 0.0
                ),
            )


def _per_class(
    cells: Sequence[Cell], attacked: _Attacked, labels: NDArray[np.int64], class_names: Sequence[str]
) -> tuple[ClassRow, ...]:
    """One row for every class that the audit's videos have."""

    def counted(hits: Hits, among: Hits) -> tuple[NDArray[Any], NDArray[Any]]:
        return hits_per_class(labels[among], hits[among], len(class_names))

    clips = np.bincount(labels, minlength=len(class_names))
    clean = counted(attacked.clean.right, attacked.clean.seen)
    everywhere = attacked.seen.all(axis=1) & attacked.clean.seen
    worst = counted(attacked.clean.right & attacked.right.all(axis=1), everywhere)
    after = [counted(attacked.right[:, k], attacked.seen[:, k]) for k in range(len(cells))]
    return tuple(
        ClassRow(
            name=class_names[label],
            clips=int(clips[label]),
            clean=rate(int(clean[0][label]), int(clean[1][label])),
            worst=rate(int(worst[0][label]), int(worst[1][label])),
            after={
                cell.name: (int(right[label]), int(of[label]))
                for cell, (right, of) in zip(cells, after, strict=True)
            },
        )
        for label in map(int, np.flatnonzero(clips))
    )


def _confusions(
    cells: Sequence[Cell],
    found: Mapping[str, Sequence[int]],
    attacked: _Attacked,
    labels: NDArray[np.int64],
    classes: int,
) -> Iterable[Confusion]:
    largest = [members[-1] for members in found.values()]
    shown = [(CLEAN, attacked.clean), *((cells[k].name, attacked.columns[k]) for k in largest)]
    for name, columns in shown:
        table = confusion(labels[columns.seen], columns.predicted[columns.seen], classes)
        yield Confusion(cell=name, clips=int(table.sum()), entries=tuple(entries(table)))


def _spread(values: NDArray[np.float64]) -> Spread:
    known = values[~np.isnan(values)]
    if not known.size:
        return Spread(median=None, largest=None)
    return Spread(median=float(np.median(known)), largest=float(known.max()))


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
