"""Attacks whose steps are too short for their bound are named, by what `multav.craft` really does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multav import craft, parse_attack
from multav.attacks.reach import short_of_bound

SHORT: list[dict[str, Any]] = [
    {"kind": "multav-linf", "steps": 2},
    {"kind": "pgd-linf", "steps": 1},
    {"kind": "pgd-linf", "steps": 5, "schedule": "linear"},
    {"kind": "pgd-l2"},
    {"kind": "multav-af", "epsilon": 2.0, "step_size": 1.1, "width": 2},
]
FAR: list[dict[str, Any]] = [
    {"kind": "multav-linf"},
    {"kind": "pgd-linf"},
    {"kind": "pgd-linf", "steps": 1, "step_size": 4 / 255},
    {"kind": "pgd-l2", "epsilon": 0.9, "step_size": 0.3, "steps": 3},
    {"kind": "multav-af", "epsilon": 1.6, "step_size": 1.1, "width": 2},
]


@pytest.mark.parametrize("fields", SHORT, ids=str)
def test_steps_that_are_too_short_are_named(fields: dict[str, Any]) -> None:
    said = short_of_bound(parse_attack(fields))
    assert said is not None
    assert said.startswith(f"{fields['kind']}: ")
    assert not bound_acts(fields)


@pytest.mark.parametrize("fields", FAR, ids=str)
def test_of_steps_that_reach_the_bound_nothing_is_said(fields: dict[str, Any]) -> None:
    assert short_of_bound(parse_attack(fields)) is None
    assert bound_acts(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "multav-linf", "steps": 2, "random_start": True},
        {"kind": "pgd-l2", "random_start": True},
        {"kind": "multav-l2"},
        {"kind": "apgd-linf", "steps": 2},
    ],
    ids=str,
)
def test_nothing_is_said_where_nothing_is_known(fields: dict[str, Any]) -> None:
    assert short_of_bound(parse_attack(fields)) is None


def bound_acts(fields: dict[str, Any]) -> bool:
    """Whether a bound that is a tenth smaller changes what comes out."""
    attack = parse_attack(fields)
    neutral = 1.0 if attack.rule.name == "multiplicative" else 0.0
    smaller = attack.model_copy(update={"epsilon": neutral + (attack.epsilon - neutral) * 0.9})
    clips = torch.full((1, 3, 2, 8, 8), 0.5)
    whole, part = (
        craft(Rising(), clips, torch.zeros(1, dtype=torch.int64), each).clips for each in (attack, smaller)
    )
    return not bool(whole.equal(part))


class Rising(nn.Module):
    """The brighter, the less is it class 0."""

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 2)."""
        bright = clips.flatten(1).sum(1)
        return torch.stack([-bright, bright], dim=1) / 100
