"""What is trained and audited for Table 1."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from multav.attacks.catalogue import parse_attack
from multav.audits.request import AuditRequest
from multav.reproduction.plan import Scale, planned_models
from multav.reproduction.printed import COLUMNS, NETWORKS, UNDER_ATTACK, printed
from multav.reproduction.scales import paper_scale, small_scale
from multav.training.request import TrainingRequest

PAPER = paper_scale("kinetics", "train", "test")
SMALL = small_scale()


def test_the_paper_trains_33_models() -> None:
    models = planned_models(PAPER)
    assert Counter(model.row for model in models) == {"clean": 3, "mult": 15, "add": 15}
    assert {model.training["start"]["model"] for model in models} == {"kinetics"}


def test_the_small_table_has_three_seeds_of_the_first_column_and_models_of_the_same_budget() -> None:
    models = planned_models(SMALL)
    assert len(models) == 54
    first = [model for model in models if model.column == "linf"]
    assert Counter((model.row, model.seed) for model in first) == {
        (row, seed): 3 for row in ("mult", "add", "matched") for seed in (1, 2, 3)
    }
    (epsilon,) = {model.attack["epsilon"] for model in first if model.attack and model.row == "matched"}
    # What MultAV-linf may move the mean pixel by.
    assert epsilon == pytest.approx(0.472 * 0.04)


@pytest.mark.parametrize("scale", [PAPER, SMALL], ids=lambda scale: scale.name)
def test_every_body_is_one_that_the_service_takes(scale: Scale) -> None:
    for model in planned_models(scale):
        training, audit = TrainingRequest.parse(model.training), AuditRequest.parse(model.audit)
        assert training.name == model.name == audit.models[0]
        assert not audit.early_stop
        kinds = [attack.kind for attack in audit.attacks]
        assert len(kinds) == 2 * len(model.audited_columns)
        if model.row in ("mult", "add"):
            assert training.attacks[0] in audit.attacks


def test_the_papers_attacks_are_its_own() -> None:
    for model in planned_models(PAPER):
        if model.attack is not None:
            assert parse_attack(model.attack) == parse_attack({"kind": model.attack["kind"]})


def test_small_l2_steps_move_a_value_three_times_as_far_as_the_papers() -> None:
    paper, small = (3 * frames * side * side for frames, side in ((40, 112), (8, 40)))
    additive, multiplicative = SMALL.attacks["pgd-l2"], SMALL.attacks["multav-l2"]
    share = 3 * math.sqrt(small / paper)
    assert additive["epsilon"] == multiplicative["epsilon"] == pytest.approx(160 * share)
    assert additive["step_size"] == pytest.approx(1.0 * share)
    assert math.log(multiplicative["step_size"]) == pytest.approx(math.log(3.55) * share)


def test_names_stand_for_everything_that_is_asked_for() -> None:
    names = {model.name for model in planned_models(SMALL)}
    assert len(names) == 54
    longer = {model.name for model in planned_models(small_scale(steps=201))}
    assert not names & longer
    fewer = {model.name for model in planned_models(replace(SMALL, columns=("roa",), networks=("r18",)))}
    assert len(fewer) == 3
    assert fewer < names


def test_the_printed_table_is_whole_and_its_gaps_are_those_of_the_text() -> None:
    assert all(len(row) == len(COLUMNS) for row in UNDER_ATTACK.values())
    gaps = [
        round((printed(network, "add", column) or 0) - (printed(network, "mult", column) or 0), 2)
        for network in NETWORKS
        for column in COLUMNS
    ]
    assert gaps == [
        *(-5.39, -6.29, -1.67, -15.12, -0.80),
        *(-11.23, -5.60, -1.59, -11.55, -0.31),
        *(-11.71, -3.81, -0.69, -11.15, -0.30),
    ]
    assert printed("r18-3d", "clean", "linf") is None
