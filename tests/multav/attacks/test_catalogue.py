"""Specifications: defaults of the paper, refusals that say what to do, no torch."""

import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from multav.attacks.catalogue import ATTACKS, describe, parse_attack
from multav.errors import InvalidSpec, NotFound


def test_a_bare_kind_means_the_papers_settings() -> None:
    mult = parse_attack({"kind": "multav-linf"})
    assert (mult.epsilon, mult.step_size, mult.steps) == (1.04, 1.01, 5)
    add = parse_attack({"kind": "pgd-linf"})
    assert (add.epsilon, add.step_size, add.steps) == (4 / 255, 1 / 255, 5)
    assert not any((mult.random_start, mult.targeted, add.random_start, add.targeted))


PAPER: dict[str, dict[str, Any]] = {
    "multav-linf": {"epsilon": 1.04, "step_size": 1.01},
    "multav-l2": {"epsilon": 160, "step_size": 3.55, "bound": "change"},
    "multav-roa": {"epsilon": 1.7, "step_size": 3.55, "size": 30, "placement": "random"},
    "multav-af": {"epsilon": 3.55, "step_size": 1.7, "width": 10},
    "multav-spa": {"epsilon": 3.55, "step_size": 1.7, "pixels": 100},
    "pgd-linf": {"epsilon": 4 / 255, "step_size": 1 / 255},
    "pgd-l2": {"epsilon": 160, "step_size": 1.0},
    "roa": {"epsilon": 1.0, "step_size": 70 / 255, "size": 30, "placement": "random"},
    "af": {"epsilon": 1.0, "step_size": 70 / 255, "width": 10},
    "spa": {"epsilon": 1.0, "step_size": 70 / 255, "pixels": 100},
}


@pytest.mark.parametrize("kind", PAPER)
def test_every_kind_of_the_paper_starts_from_its_table(kind: str) -> None:
    """paper-facts A: five steps, from the clean clip, untargeted, cross-entropy, nothing added."""
    fields = parse_attack({"kind": kind}).model_dump()
    plain = {"steps": 5, "random_start": False, "targeted": False, "restarts": 1, "loss": "cross-entropy"}
    plain |= {"momentum": 0.0, "schedule": "constant", "early_stop": False}
    assert {name: fields[name] for name in (PAPER[kind] | plain)} == PAPER[kind] | plain
    assert fields.get("init", "clean") == "clean"


def test_named_settings_are_settings() -> None:
    for kind, spec in ATTACKS.items():
        for fields in spec.settings.values():
            parse_attack({"kind": kind, **fields})
    swapped = parse_attack({"kind": "multav-roa", **ATTACKS["multav-roa"].settings["swapped"]})
    assert (swapped.epsilon, swapped.step_size) == (3.55, 1.7)
    printed = parse_attack({"kind": "multav-roa", **ATTACKS["multav-roa"].settings["printed"]})
    assert printed == parse_attack({"kind": "multav-roa"})


RATIO_BOUNDS = ("multav-linf", "multav-roa", "multav-af", "multav-spa", "apgd-ratio")
RATIO_STEPS = ("multav-linf", "multav-l2", "multav-roa", "multav-af", "multav-spa")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "multav-linf", "epsilon": 1.0}, "/epsilon"),
        ({"kind": "multav-linf", "epsilon": 0.9}, "/epsilon"),
        ({"kind": "multav-linf", "epsilon": float("nan")}, "/epsilon"),
        ({"kind": "multav-linf", "epsilon": float("inf")}, "/epsilon"),
        ({"kind": "multav-linf", "step_size": 1}, "/step_size"),
        ({"kind": "multav-linf", "steps": 0}, "/steps"),
        ({"kind": "multav-linf", "steps": 2.5}, "/steps"),
        ({"kind": "multav-linf", "steps": True}, "/steps"),
        ({"kind": "multav-linf", "targeted": "yes"}, "/targeted"),
        ({"kind": "multav-linf", "alpha": 1.01}, "/alpha"),
        ({"kind": "pgd-linf", "epsilon": 0}, "/epsilon"),
        ({"kind": "pgd-linf", "epsilon": -0.1}, "/epsilon"),
        ({"kind": "pgd-linf", "epsilon": 4}, "/epsilon"),
        ({"kind": "pgd-linf", "step_size": 0}, "/step_size"),
        ({"kind": "pgd-linf", "epsilon": True}, "/epsilon"),
        ({"kind": "pgd-linf", "epsilon": "0.1"}, "/epsilon"),
        ({"kind": "pgd-linf", "step_size": float("-inf")}, "/step_size"),
        ({"kind": "multav-linf", "epsilon": 1e7}, "/epsilon"),
        ({"kind": "multav-linf", "steps": 10_001}, "/steps"),
        *[({"kind": kind, "epsilon": 1.0}, "/epsilon") for kind in RATIO_BOUNDS],
        *[({"kind": kind, "epsilon": 1.01 * 0.9}, "/epsilon") for kind in RATIO_BOUNDS],
        *[({"kind": kind, "step_size": 1.0}, "/step_size") for kind in RATIO_STEPS],
        *[({"kind": kind, "step_size": 0.5}, "/step_size") for kind in RATIO_STEPS],
        *[({"kind": kind, "epsilon": 1.1}, "/epsilon") for kind in ("roa", "af", "spa", "apgd-linf")],
        ({"kind": "pgd-l2", "epsilon": 0.0}, "/epsilon"),
        ({"kind": "multav-l2", "epsilon": -1.0}, "/epsilon"),
        ({"kind": "multav-l2", "bound": "other"}, "/bound"),
        ({"kind": "pgd-l2", "start": "clean"}, "/start"),
        ({"kind": "apgd-ratio", "step_size": 1.01}, "/step_size"),
        ({"kind": "apgd-linf", "early_stop": True}, "/early_stop"),
        ({"kind": "apgd-linf", "momentum": 1.0}, "/momentum"),
        ({"kind": "apgd-linf", "rising": 0.0}, "/rising"),
        ({"kind": "pgd-linf", "momentum": -0.1}, "/momentum"),
        ({"kind": "pgd-linf", "momentum": 1.1}, "/momentum"),
        ({"kind": "pgd-linf", "schedule": "steps"}, "/schedule"),
        ({"kind": "pgd-linf", "early_stop": 1}, "/early_stop"),
        ({"kind": "pgd-linf", "loss": "margin"}, "/loss"),
        ({"kind": "pgd-linf", "restarts": 0}, "/restarts"),
        ({"kind": "pgd-linf", "restarts": 1001, "random_start": True}, "/restarts"),
        ({"kind": "af", "width": 0}, "/width"),
        ({"kind": "af", "width": 1.5}, "/width"),
        ({"kind": "af", "init": "white"}, "/init"),
        ({"kind": "spa", "pixels": 0}, "/pixels"),
        ({"kind": "spa", "size": 3}, "/size"),
        ({"kind": "roa", "placement": "centre"}, "/placement"),
        ({"kind": "roa", "stride": 0}, "/stride"),
        ({"kind": "roa", "candidates": 0}, "/candidates"),
        ({"kind": "pgd-linf", "width": 3}, "/width"),
    ],
    ids=str,
)
def test_wrong_fields_are_pointed_at(body: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_attack(body)
    assert [error["pointer"] for error in caught.value.errors] == [pointer]
    assert caught.value.status == 422


def test_refusals_say_what_to_write_instead() -> None:
    with pytest.raises(InvalidSpec, match=r"/epsilon: 0.04 .* above 1 \(1.04 changes a value by 4 %\)"):
        parse_attack({"kind": "multav-linf", "epsilon": 0.04})
    with pytest.raises(InvalidSpec, match=r"/epsilon: 4 is not in \(0, 1\]: .* 4 of 255 levels are 0.0157"):
        parse_attack({"kind": "pgd-linf", "epsilon": 4})


@pytest.mark.parametrize("kind", ["multav-linf", "multav-af", "pgd-l2", "af", "apgd-ratio"])
def test_restarts_that_would_all_be_the_same_are_refused(kind: str) -> None:
    with pytest.raises(
        InvalidSpec, match="3 restarts would all be the same run: set random_start, or choose"
    ):
        parse_attack({"kind": kind, "restarts": 3})
    assert parse_attack({"kind": kind, "restarts": 3, "random_start": True}).restarts == 3


def test_restarts_may_come_from_a_drawn_region() -> None:
    for kind in ("roa", "multav-roa", "spa", "multav-spa"):
        assert parse_attack({"kind": kind, "restarts": 3}).restarts == 3
    for placement in ("fixed", "gradient", "exhaustive"):
        with pytest.raises(InvalidSpec, match="3 restarts would all be the same run"):
            parse_attack({"kind": "roa", "restarts": 3, "placement": placement})


def test_a_position_belongs_to_a_fixed_place() -> None:
    for placement in ("random", "gradient", "exhaustive"):
        with pytest.raises(InvalidSpec, match=f"position belongs to placement \"fixed\", not '{placement}'"):
            parse_attack({"kind": "roa", "placement": placement, "position": [1, 2]})
    fixed = parse_attack({"kind": "roa", "placement": "fixed", "position": [1, 2], "size": [3, 4]})
    assert (fixed.position, fixed.size) == ((1, 2), (3, 4))
    assert parse_attack(fixed.model_dump(mode="json")) == fixed


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", [3], [3, 0], [1, 2, 3], None, True], ids=str)
def test_a_size_is_a_side_or_a_height_and_a_width(size: Any) -> None:
    with pytest.raises(InvalidSpec, match="/size"):
        parse_attack({"kind": "roa", "size": size})


@pytest.mark.parametrize("kind", ATTACKS)
def test_the_schema_agrees_with_the_validation(kind: str) -> None:
    schema = describe(kind)["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    defaults = describe(kind)["defaults"]
    jsonschema.validate(defaults, schema)
    for name in {"epsilon", "step_size"} & set(defaults):
        assert schema["properties"][name]["description"]
        for value in (0, 1, 0.5, 1.5, 4, 1e6, 1e7, "1.1", True, None):
            body = {**defaults, name: value}
            try:
                parse_attack(body)
            except InvalidSpec:
                with pytest.raises(jsonschema.ValidationError):
                    jsonschema.validate(body, schema)
            else:
                jsonschema.validate(body, schema)


@pytest.mark.parametrize("body", [{"kind": "fgsm"}, {}, [], "multav-linf", None], ids=str)
def test_an_unknown_kind_names_the_known_ones(body: Any) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_attack(body)
    if isinstance(body, dict) and body:
        assert all(kind in caught.value.detail for kind in ATTACKS)


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_specification_is_a_value(kind: str) -> None:
    spec = parse_attack({"kind": kind})
    assert spec == parse_attack(spec.model_dump())
    assert parse_attack(describe(kind)["defaults"]) == spec
    assert hash(spec) == hash(parse_attack({"kind": kind}))
    with pytest.raises(ValueError, match="frozen"):
        spec.steps = 6
    described = describe(kind)
    assert described["kind"] == kind
    assert all(described[field] for field in ("meaning", "equation", "source", "rule", "ball", "region"))
    assert set(described["schema"]["properties"]) == set(described["defaults"])


def test_describing_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match="multav-linf"):
        describe("nothing")


def test_specifications_do_not_load_torch() -> None:
    code = (
        "import sys, multav, multav.attacks.catalogue, multav.attack_request, multav.client, multav.model_card\n"
        "multav.parse_attack({'kind': 'multav-linf'}); multav.AttackRequest.parse({})\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
