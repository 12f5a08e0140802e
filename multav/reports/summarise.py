"""From an audit's outcomes to everything that a report says of them. Torch-free."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from multav.audits.cells import Cell
from multav.audits.findings import Check, Verdict
from multav.audits.outcome import CLEAN, Outcome
from multav.audits.request import AuditRequest
from multav.datasets.listing import ListedVideo
from multav.reports.cell_description import described
from multav.reports.comparisons import comparisons
from multav.reports.manifest import Manifest
from multav.reports.model_numbers import model_numbers
from multav.reports.outcome_columns import OutcomeColumns
from multav.reports.summary import DENOMINATORS, UNIT, ModelNumbers, Problem, Summary
from multav.reports.transfer import transfers
from multav.statistics.cluster_bootstrap import RESAMPLES, Groups
from multav.statistics.rates import LEVEL, rate

_FEW_CLIPS: Final = 400
_FEW_GROUPS: Final = 20


def summarise(
    request: AuditRequest,
    *,
    classes: Sequence[str],
    videos: Sequence[ListedVideo],
    outcomes: Iterable[Outcome] | OutcomeColumns,
    models: Sequence[str] | None = None,
    minimum_cells: Sequence[Cell] | None = None,
    checks: Mapping[str, Sequence[Check]] | None = None,
    verdicts: Mapping[str, Verdict] | None = None,
    manifest: Manifest | None = None,
) -> Summary:
    """The report of an audit of `videos` (its subset), whose labels are indices into `classes`.

    `outcomes` may come in any order, is read once and not held, and may be incomplete: what is missing is counted and
    said. `models` are in the order of the report (as in `request`, or as they come, if None). `minimum_cells` looked
    for the smallest bound that fools a clip, up to their own epsilon; if None, the largest cell of each family in
    which one was found. `checks` and `verdicts` are by model. Raises `ValueError` for an outcome that is there twice,
    or fits no video.
    """
    cells = request.cells
    columns = outcomes if isinstance(outcomes, OutcomeColumns) else OutcomeColumns(videos, outcomes)
    groups = Groups([video.group for video in videos])
    names = tuple(models or request.models or dict.fromkeys(key[0] for key in columns.keys))
    if minimum_cells is None:
        minimum_cells = _searched(cells, names, columns)
    numbers = tuple(
        model_numbers(
            name,
            cells,
            columns,
            groups,
            class_names=classes,
            minimum_cells=minimum_cells,
            checks=(checks or {}).get(name, ()),
            verdict=(verdicts or {}).get(name),
        )
        for name in names
    )
    read = _read(names, columns, groups)
    seen = Groups([video.group for video, there in zip(videos, read, strict=True) if there])
    return Summary(
        unit=UNIT,
        level=LEVEL,
        denominators=DENOMINATORS,
        complete=all(
            model.missing == 0 and all(cell.missing == 0 for cell in model.cells) for model in numbers
        ),
        videos=len(videos),
        groups=groups.count,
        read=seen.clips,
        groups_read=seen.count,
        resamples=RESAMPLES,
        class_names=tuple(classes),
        cells=tuple(map(described, cells)),
        models=numbers,
        comparisons=tuple(comparisons(names, cells, columns, groups)),
        transfer=tuple(transfers(cells, columns, groups)),
        problems=tuple(_problems(videos, columns)),
        notes=tuple(_notes(request, numbers, groups, seen)),
        manifest=manifest,
    )


def _searched(cells: Sequence[Cell], models: Sequence[str], columns: OutcomeColumns) -> list[Cell]:
    """Of each family the cell with the largest bound in which a smallest bound was found."""
    found: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.attack.epsilon):
        if any(np.any(columns.of(name, cell.name).epsilon > 0) for name in models):
            found[cell.family] = cell
    return [cell for cell in cells if cell in found.values()]


def _problems(videos: Sequence[ListedVideo], columns: OutcomeColumns) -> Iterable[Problem]:
    """One for every video and reason, with all models and cells that it kept from an outcome."""
    found: dict[tuple[int, str], tuple[dict[str, None], dict[str, None]]] = {}
    for each in columns.problems:
        models, cells = found.setdefault((each.position, each.problem), ({}, {}))
        models[each.key[0]] = None
        cells[each.key[1]] = None
    for (position, problem), (models, cells) in sorted(
        found.items(), key=lambda item: videos[item[0][0]].index
    ):
        video = videos[position]
        yield Problem(
            clip=video.index,
            video=video.name,
            label=video.label,
            problem=problem,
            models=tuple(models),
            cells=tuple(cells),
        )


def _read(names: Sequence[str], columns: OutcomeColumns, groups: Groups) -> NDArray[np.bool_]:
    """Which videos at least one model saw; all, before anything has come."""
    read = np.zeros(groups.clips, dtype=np.bool_)
    for name in names:
        read |= columns.of(name, CLEAN).seen
    return read if read.any() else ~read


def _notes(
    request: AuditRequest, models: Sequence[ModelNumbers], groups: Groups, read: Groups
) -> Iterable[str]:
    unread = max((model.unread for model in models), default=0)
    if unread:
        yield (
            f"{unread} of {groups.clips} videos could not be read; they are in no denominator and are listed under "
            "problems."
        )
    missing = sum(model.missing + sum(cell.missing for cell in model.cells) for model in models)
    if missing:
        yield f"The audit is not complete: {missing} outcomes have not come, and rates are over those that have."
    if read.clips < _FEW_CLIPS:
        half = rate(read.clips // 2, read.clips)
        points = 100 * ((half.high or 1) - (half.low or 0)) / 2
        yield f"With {read.clips} videos a share near one half is known to about {points:.0f} points either way."
    if not read.alone:
        yield (
            f"The {read.clips} videos come from {read.count} groups cut from the same source. Wilson's intervals "
            "take videos for independent; intervals by group do not, and are the ones to believe where they are wider."
        )
        if read.count < _FEW_GROUPS:
            yield f"With {read.count} groups even the intervals by group are too narrow: read them as lower limits."
    for model in models:
        rising = [
            each.family for each in model.curves if any(rise.p < 1 - LEVEL for rise in each.curve.rises)
        ]
        if rising:
            yield (
                f"{model.name}: accuracy rises with the bound under {', '.join(rising)}, by more than chance. The "
                "attack is not run to its end there, or the model hides its gradients."
            )
    if request.early_stop:
        yield (
            "Attacks stopped at the first step that fooled the model: success means that some step of the attack "
            "fools it, and perturbations may be smaller than the bound."
        )
