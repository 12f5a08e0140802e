"""The table that a run gives, from answers that are made up."""

import numpy as np
import pytest

from multav.reproduction.measured import Answers, Findings, Measured, aligned
from multav.reproduction.plan import MULTIPLICATIVE, PlannedModel, planned_models
from multav.reproduction.pooled_gaps import pooled_gaps
from multav.reproduction.scales import small_scale
from multav.reproduction.table import gaps, markdown
from multav.statistics.rates import rate

CLIPS = 400


ALONE = tuple(map(str, range(CLIPS)))


def measured(share: dict[str, float], seed: int = 0, groups: tuple[str, ...] = ALONE) -> list[Measured]:
    """Every model of the small table, right about a share of the clips that its row says."""
    draw = np.random.default_rng(seed)

    def of(model: PlannedModel) -> Measured:
        right = {
            f"{MULTIPLICATIVE[column]}@1": draw.random(CLIPS) < share[model.row]
            for column in model.audited_columns
        }
        return Measured(model, {"clean": draw.random(CLIPS) < 0.9, **right}, groups, {}, {})

    return [of(model) for model in planned_models(small_scale())]


def test_a_gap_is_found_where_it_is_and_not_where_it_is_not() -> None:
    found = measured({"clean": 0.05, "mult": 0.6, "add": 0.4, "matched": 0.6})
    add, matched = gaps(found), gaps(found, "matched")
    assert len(add) == 3 * 3 + 3 * 4
    assert len(matched) == 9
    assert all(gap.significant and gap.found.difference == pytest.approx(-0.2, abs=0.12) for gap in add)
    assert not any(gap.significant for gap in matched)
    text = markdown(Findings(found))
    assert "shows in 21 of 21 comparisons, beyond chance in 21; the opposite is beyond chance in 0." in text
    assert "[47.00]" in text
    assert "| -5.39 |" in text


def test_figures_are_counts_with_wilsons_interval() -> None:
    found = measured({"clean": 0.05, "mult": 0.6, "add": 0.4, "matched": 0.6})
    first = next(each for each in found if (each.planned.row, each.planned.column) == ("mult", "linf"))
    count = int(first.under("multav-linf").sum())
    low, high = rate(count, CLIPS).low, rate(count, CLIPS).high
    assert low is not None
    assert high is not None
    assert f"{100 * count / CLIPS:.1f} ({100 * low:.1f} to {100 * high:.1f}) [47.00]" in markdown(
        Findings(found)
    )


def test_seeds_are_compared_with_their_own_twins() -> None:
    found = measured({"clean": 0.05, "mult": 0.6, "add": 0.4, "matched": 0.6})
    third = next(gap for gap in gaps(found) if (gap.network, gap.column, gap.seed) == ("r18", "linf", 3))
    one, other = (
        next(
            each.under("multav-linf")
            for each in found
            if (each.planned.network, each.planned.row, each.planned.column, each.planned.seed)
            == ("r18", row, "linf", 3)
        )
        for row in ("mult", "add")
    )
    assert third.found.only_second == int((one & ~other).sum())
    assert third.found.only_first == int((other & ~one).sum())


def test_seeds_taken_together_are_more_sure_than_one() -> None:
    found = measured({"clean": 0.05, "mult": 0.45, "add": 0.40, "matched": 0.45})
    pooled = {gap.network: gap for gap in pooled_gaps(found, "add")}
    assert set(pooled) == {"r18", "r18-3d", "r18-2d", None}
    single = [gap for gap in gaps(found) if gap.column == "linf"]
    for network in ("r18", "r18-3d", "r18-2d"):
        by_seed = [gap.found.difference or 0.0 for gap in single if gap.network == network]
        assert pooled[network].by_seed == pytest.approx(by_seed)
        assert pooled[network].found.difference == pytest.approx(np.mean(by_seed))
    everything = pooled[None].found
    assert everything.difference == pytest.approx(-0.05, abs=0.03)
    assert everything.difference is not None
    assert everything.by_group is not None
    assert everything.by_group.low < everything.difference < everything.by_group.high < 0
    assert everything.p_by_group < 0.01
    assert "| all together | MultAV-linf | additive |" in markdown(Findings(found))


def test_seeds_taken_together_find_nothing_where_nothing_is() -> None:
    found = measured({"clean": 0.05, "mult": 0.4, "add": 0.4, "matched": 0.4})
    assert all(
        gap.found.p_by_group > 0.01 for gap in [*pooled_gaps(found, "add"), *pooled_gaps(found, "matched")]
    )


def test_clips_of_one_recording_are_one() -> None:
    share = {"clean": 0.05, "mult": 0.5, "add": 0.44, "matched": 0.5}
    apart = measured(share)
    # Four clips each, all alike: a quarter of the evidence.
    alike = [
        Measured(
            each.planned,
            {cell: np.repeat(hits[: CLIPS // 4], 4) for cell, hits in each.right.items()},
            tuple(str(clip // 4) for clip in range(CLIPS)),
            {},
            {},
        )
        for each in apart
    ]
    taken_for_many = [Measured(each.planned, each.right, ALONE, {}, {}) for each in alike]
    honest, many = (min(gap.found.p_by_group for gap in gaps(found)) for found in (alike, taken_for_many))
    assert many < honest / 10
    assert "cut from 100 recordings" in markdown(Findings(alike))
    assert "whole recordings drawn again" in markdown(Findings(alike))
    assert "of the same 400 test clips." in markdown(Findings(apart))


def outcomes(wrong: set[int], without: set[int] = frozenset()) -> list[dict[str, object]]:  # type: ignore[assignment]
    return [
        {
            "cell": cell,
            "clip": clip,
            "group": f"g{clip // 2}",
            "label": 1,
            "predicted": None if clip in without else 0 if clip in wrong and cell != "clean" else 1,
            "problem": "torn" if clip in without else None,
        }
        for cell in ("clean", "multav-linf@1.04")
        for clip in (4, 2, 0, 6)
    ]


def test_answers_are_brought_onto_the_same_clips() -> None:
    first, second = [model for model in planned_models(small_scale()) if model.column == "linf"][:2]
    found, left_out = aligned(
        [Answers.of(first, outcomes({2}), {}, {}), Answers.of(second, outcomes({6}, without={4}), {}, {})]
    )
    assert left_out == 1
    assert [each.groups for each in found] == [("g0", "g1", "g3")] * 2
    assert found[0].under("multav-linf").tolist() == [True, False, True]
    assert found[1].under("multav-linf").tolist() == [True, True, False]
    assert found[1].right["clean"].tolist() == [True] * 3
    assert "1 more are left out" in markdown(Findings(found, left_out))


def test_what_is_missing_is_said_and_the_rest_is_there() -> None:
    found = measured({"clean": 0.05, "mult": 0.6, "add": 0.4, "matched": 0.6})
    lost = [each for each in found if each.planned.label != "mult-roa"]
    text = markdown(Findings(lost, failed=[{"kind": "training", "id": "t1"}]))
    assert "**Incomplete**: 1 jobs did not succeed (such as training t1)" in text
    assert len(gaps(lost)) == len(gaps(found)) - 3
