"""Every number of a report, counted again from the rows with plain loops."""

import json
import random
import time
from collections import Counter

import jsonschema
import numpy as np
import pytest

from multav.audits.outcome import CLEAN, Outcome
from multav.audits.request import AuditRequest
from multav.datasets.listing import ListedVideo
from multav.reports.comparisons import twin_cells
from multav.reports.outcome_columns import OutcomeColumns
from multav.reports.summarise import summarise
from multav.reports.summary import Summary
from multav.statistics.holm import holm
from multav.statistics.paired import mcnemar
from multav.statistics.rates import Rate
from tests.multav.reports.conftest import MODELS, Reported
from tests.multav.reports.made_audit import made_audit

Rows = dict[tuple[str, str, str], dict[int, Outcome]]


@pytest.fixture(scope="module")
def rows(reported: Reported) -> Rows:
    """Outcomes by (model, cell, tested on) and clip."""
    found: Rows = {}
    for each in reported.audit.outcomes:
        found.setdefault((each.model, each.cell, each.tested_on), {})[each.clip] = each
    return found


def share(rate: Rate) -> tuple[int, int]:
    return rate.count, rate.of


def test_accuracies_and_successes(reported: Reported, rows: Rows) -> None:
    for model in reported.summary.models:
        clean = [each for each in rows[model.name, CLEAN, model.name].values() if each.problem is None]
        assert share(model.clean) == (sum(each.predicted == each.label for each in clean), len(clean))
        assert (model.clips, model.unread, model.missing) == (240, 2, 0)
        for cell in model.cells:
            there = rows[model.name, cell.cell, model.name].values()
            known = [each for each in there if each.clean == each.label]
            assert share(cell.robust) == (sum(each.predicted == each.label for each in there), 238)
            assert share(cell.success) == (sum(each.predicted != each.label for each in known), len(known))
            assert (cell.attacked, cell.unread, cell.missing) == (len(known), 2, 0)
            assert cell.size.largest == max(each.size or 0 for each in known)
            assert cell.gradients == 5 * len(known)
            assert cell.seconds == pytest.approx(0.2 * 238)
            assert cell.confidence_before == pytest.approx(0.9)
            assert cell.confidence_after == pytest.approx(0.7)
            assert cell.robust.by_group is not None


def test_the_worst_case_is_video_by_video(reported: Reported, rows: Rows) -> None:
    for model in reported.summary.models:
        lowest = {each.cell: each.robust for each in model.cells}
        for worst in model.worst:
            held = sum(
                all(rows[model.name, cell, model.name][clip].right for cell in worst.cells)
                for clip in rows[model.name, worst.cells[0], model.name]
            )
            assert share(worst.robust) == (held, 238)
            assert held <= min(lowest[cell].count for cell in worst.cells)
            assert share(worst.success) == (model.clean.count - held, model.clean.count)
        assert [each.over for each in model.worst] == ["all attacks", "multav-linf", "pgd-linf"]


def test_who_else_was_fooled(reported: Reported, rows: Rows) -> None:
    model = reported.summary.models[0]
    fooled = Counter(
        clip
        for cell in model.cells
        for clip, each in rows[model.name, cell.cell, model.name].items()
        if each.attacked and not each.right
    )
    for cell in model.cells:
        there = rows[model.name, cell.cell, model.name]
        alone = sum(each.attacked and not each.right and fooled[clip] == 1 for clip, each in there.items())
        assert cell.fooled_here_alone == alone


def test_classes_and_confusions(reported: Reported, rows: Rows) -> None:
    names = reported.audit.classes
    for model in reported.summary.models:
        assert [row.name for row in model.classes] == list(names)
        for row in model.classes:
            label = names.index(row.name)
            for cell, counted in row.after.items():
                there = [each for each in rows[model.name, cell, model.name].values() if each.label == label]
                assert counted == (sum(each.right for each in there), len(there))
        assert [each.cell for each in model.confusions] == [
            CLEAN, "multav-linf@1.04", "pgd-linf@0.0156863", "multav-l2@160",
        ]  # fmt: skip
        for table in model.confusions:
            there = [
                each for each in rows[model.name, table.cell, model.name].values() if each.problem is None
            ]
            assert {(a, b): n for a, b, n in table.entries} == Counter(
                (each.label, each.predicted) for each in there
            )


def test_comparisons_and_their_correction(reported: Reported, rows: Rows) -> None:
    for question, expected in (("multiplicative or additive", 9), ("model or model", 24)):
        found = [each for each in reported.summary.comparisons if each.question == question]
        assert len(found) == expected == found[0].among
        for each in found:
            first = rows[each.first.model, each.first.cell, each.first.model]
            second = rows[each.second.model, each.second.cell, each.second.model]
            pairs = Counter(
                (first[clip].right, second[clip].right) for clip in first if first[clip].problem is None
            )
            assert each.paired.only_first == pairs[True, False]
            assert each.paired.only_second == pairs[False, True]
            assert each.paired.p == mcnemar(pairs[True, False], pairs[False, True])[0]
            assert each.first.accuracy.of == each.second.accuracy.of == 238
            assert each.significant == (each.p_holm < 0.05)
        assert [each.p_holm for each in found] == holm([each.paired.p_by_group for each in found])


def test_transfer_is_over_what_both_know(reported: Reported, rows: Rows) -> None:
    assert len(reported.summary.transfer) == 7 * 6
    for each in reported.summary.transfer:
        there = rows[each.crafted_on, each.cell, each.tested_on]
        home = rows[each.crafted_on, each.cell, each.crafted_on]
        known = [
            clip
            for clip in there
            if rows[each.crafted_on, CLEAN, each.crafted_on][clip].right
            and rows[each.tested_on, CLEAN, each.tested_on][clip].right
        ]
        assert share(each.success) == (sum(not there[clip].right for clip in known), len(known))
        assert share(each.own_success) == (sum(not home[clip].right for clip in known), len(known))
        assert each.surrogate.of == len(there)


def test_smallest_bounds(reported: Reported, rows: Rows) -> None:
    model = reported.summary.models[0]
    # The widest cell of each family looks for it.
    assert [each.cell for each in model.minimum_epsilons] == [
        "multav-linf@1.04", "pgd-linf@0.0156863", "multav-l2@160",
    ]  # fmt: skip
    for each in model.minimum_epsilons:
        known = [row for row in rows[model.name, each.cell, model.name].values() if row.attacked]
        assert each.distribution.clips == len(known)
        assert each.distribution.above == sum(row.epsilon is None for row in known)
    assert [each.unit for each in model.minimum_epsilons] == ["ratio", "difference", "length"]


def test_curves_begin_at_the_clean_clips(reported: Reported) -> None:
    for model in reported.summary.models:
        found = {each.family: each.curve for each in model.curves}
        assert [point.epsilon for point in found["multav-linf"].points] == [1, 1.01, 1.02, 1.04]
        assert [point.epsilon for point in found["multav-l2"].points] == [0, 160]
        assert [each.scale for each in found.values()] == ["log(epsilon)", "epsilon", "epsilon"]
        assert all(curve.points[0].accuracy == model.clean for curve in found.values())


def test_problems_are_listed_once(reported: Reported) -> None:
    assert [(each.clip, each.models, each.cells) for each in reported.summary.problems] == [
        (3 * 238, MODELS, (CLEAN,)),
        (3 * 239, MODELS, (CLEAN,)),
    ]
    assert any("2 of 240 videos could not be read" in note for note in reported.summary.notes)


def test_the_order_of_rows_is_nothing(reported: Reported) -> None:
    audit = reported.audit
    shuffled = list(audit.outcomes)
    random.Random(0).shuffle(shuffled)
    again = summarise(audit.request, classes=audit.classes, videos=audit.videos, outcomes=iter(shuffled))
    expected = reported.summary.model_copy(update={"manifest": None})
    for one, other in zip(again.models, expected.models, strict=True):
        assert one.cells == other.cells
        assert one.worst == other.worst
    assert again.comparisons == expected.comparisons
    assert (
        OutcomeColumns(audit.videos, shuffled).digest()
        == OutcomeColumns(audit.videos, audit.outcomes).digest()
    )
    assert (
        OutcomeColumns(audit.videos, shuffled[1:]).digest() != OutcomeColumns(audit.videos, shuffled).digest()
    )


def test_json_keeps_to_its_schema(reported: Reported) -> None:
    written = json.loads(reported.summary.model_dump_json())
    jsonschema.Draft202012Validator.check_schema(Summary.model_json_schema())
    jsonschema.validate(written, Summary.model_json_schema(), jsonschema.Draft202012Validator)
    assert Summary.model_validate(written) == reported.summary


def test_an_unfinished_audit_says_so(reported: Reported) -> None:
    audit = reported.audit
    part = [each for each in audit.outcomes if each.cell != "pgd-linf@0.0156863" or each.clip < 300]
    found = summarise(audit.request, classes=audit.classes, videos=audit.videos, outcomes=part)
    assert not found.complete
    cell = next(each for each in found.models[0].cells if each.cell == "pgd-linf@0.0156863")
    assert (cell.robust.of, cell.missing, cell.unread) == (100, 138, 2)
    assert found.models[0].worst[0].robust.of == 100
    assert any("not complete" in note for note in found.notes)


def test_no_outcomes_at_all() -> None:
    request = AuditRequest.parse({"models": ["net"]})
    videos = [ListedVideo(0, "a.avi", 0, "g")]
    found = summarise(request, classes=["x"], videos=videos, outcomes=[])
    assert found.models[0].clean == Rate(0, 0, None, None, None)
    assert (found.models[0].missing, found.complete, found.comparisons) == (1, False, ())
    Summary.model_validate_json(found.model_dump_json())


@pytest.mark.parametrize("change", ["twice", "label", "clip"])
def test_rows_that_cannot_be_are_refused(reported: Reported, change: str) -> None:
    audit = reported.audit
    first = audit.outcomes[0]
    wrong = {
        "twice": first,
        "label": Outcome(first.model, "x", first.clip, first.label + 1, first.model),
        "clip": Outcome(first.model, "x", 1, 0, first.model),
    }[change]
    with pytest.raises(ValueError, match="twice" if change == "twice" else "fits no video"):
        OutcomeColumns(audit.videos, [*audit.outcomes, wrong])


def test_twins_meet_bound_by_bound() -> None:
    def pairs(*kinds: str, **epsilons: list[float]) -> list[tuple[str, str]]:
        grids = {kind.replace("_", "-"): grid for kind, grid in epsilons.items()}
        return twin_cells(
            AuditRequest.parse({"attacks": [{"kind": kind} for kind in kinds], "epsilons": grids}).cells
        )

    assert pairs("multav-spa", "multav-linf", "spa") == [("multav-spa@3.55", "spa@1")]
    assert pairs("pgd-linf", "multav-linf", multav_linf=[1.04, 1.02], pgd_linf=[0.01, 0.02]) == [
        ("multav-linf@1.02", "pgd-linf@0.01"),
        ("multav-linf@1.04", "pgd-linf@0.02"),
    ]
    # Grids of other lengths: the largest of each.
    assert pairs("pgd-linf", "multav-linf", multav_linf=[1.02, 1.04, 1.08], pgd_linf=[0.01, 0.02]) == [
        ("multav-linf@1.08", "pgd-linf@0.02")
    ]


def test_a_large_audit_in_seconds() -> None:
    """101 classes, 1,000 videos, 35 cells: a quarter of UCF101's test split, so a quarter of 10 s."""
    request = AuditRequest.parse(
        {
            "models": ["net"],
            "attacks": [
                {"kind": kind}
                for kind in ("multav-linf", "multav-roa", "multav-af", "multav-spa", "apgd-ratio")
            ],
            "epsilons": [1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.08],
        }
    )
    audit = made_audit(request, classes=101, clips=1000, groups=270)
    assert len(audit.outcomes) > 35_000
    start = time.process_time()
    found = summarise(request, classes=audit.classes, videos=audit.videos, outcomes=audit.outcomes)
    assert time.process_time() - start < 2.5
    assert len(found.model_dump_json()) < 3_000_000
    assert np.isclose(found.models[0].clean.value or 0, 0.91, atol=0.05)
