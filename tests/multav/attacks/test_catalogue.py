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


@pytest.mark.parametrize("kind", ATTACKS)
def test_the_schema_agrees_with_the_validation(kind: str) -> None:
    schema = describe(kind)["schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    defaults = describe(kind)["defaults"]
    jsonschema.validate(defaults, schema)
    for name in ("epsilon", "step_size"):
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
