"""Balls by themselves: draws at the very ends of the noise, undefined gradients, what a projection leaves alone."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from multav.attacks.balls import L2, Ball, Linf, WholeRatio
from multav.attacks.catalogue import parse_attack
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.rules import Additive, Multiplicative, Rule

MULTIPLICATIVE = [(Multiplicative(), WholeRatio()), (Multiplicative(), WholeRatio(per_value=True))]
PAIRS: list[tuple[Rule, Ball]] = [
    (Additive(), Linf()),
    (Multiplicative(), Linf()),
    (Additive(), L2()),
    (Additive(), L2("image")),
    (Multiplicative(), L2()),
    *MULTIPLICATIVE,
]
SIZE = {Additive: 0.3, Multiplicative: 1.3}


def clips(dtype: torch.dtype = torch.float32) -> Tensor:
    drawn = torch.rand(2, 3, 2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return drawn * 0.8 + 0.1


@pytest.mark.parametrize(("rule", "ball"), PAIRS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_random_start_survives_the_ends_of_the_noise(rule: Rule, ball: Ball, dtype: torch.dtype) -> None:
    # torch draws exactly -1 with one float32 in 2**24, so in every tenth clip of 40x112x112 pixels.
    noise = torch.zeros(2, 3, 2, 4, 5, dtype=dtype)
    noise[0, 0, 0, 0, 0], noise[1, 2, 1, 3, 4], noise[1, 0, 0, 0, 0] = -1, 1, -1
    start = ball.scatter(rule, clips(dtype), noise, SIZE[type(rule)])
    assert start.isfinite().all()
    assert not start.equal(clips(dtype))


@pytest.mark.parametrize(("rule", "ball"), PAIRS, ids=str)
def test_an_undefined_gradient_leaves_numbers(rule: Rule, ball: Ball) -> None:
    gradient = torch.ones_like(clips())
    gradient[0, 0, 0, 0, 0] = math.nan
    moved = ball.step(rule, clips(), gradient, SIZE[type(rule)])
    assert moved.isfinite().all()
    assert moved[0, 0, 0, 0, 0] == clips()[0, 0, 0, 0, 0]
    assert not moved[0].equal(clips()[0])
    nowhere = ball.step(rule, clips(), torch.full_like(clips(), math.nan), SIZE[type(rule)])
    assert nowhere.equal(clips())


@pytest.mark.parametrize(("rule", "ball"), PAIRS, ids=str)
def test_a_gradient_of_zero_is_a_step_of_zero(rule: Rule, ball: Ball) -> None:
    gradient = torch.ones_like(clips())
    gradient[0] = 0
    moved = ball.step(rule, clips(), gradient, SIZE[type(rule)])
    assert moved[0].equal(clips()[0])
    assert not moved[1].equal(clips()[1])


@pytest.mark.parametrize("rule", [Additive(), Multiplicative()])
def test_an_l2_step_has_length_one(rule: Rule) -> None:
    start = clips(torch.float64)
    gradient = torch.randn(start.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = L2().step(rule, start.clone(), gradient.clone(), SIZE[type(rule)])
    additive = isinstance(rule, Additive)
    change = (moved - start) / 0.3 if additive else (moved / start).log() / math.log(1.3)
    torch.testing.assert_close(change.flatten(1).norm(dim=1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(change, gradient / gradient.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1, 1))


@pytest.mark.parametrize("rule", [Additive(), Multiplicative()])
def test_a_clip_within_an_l2_ball_stays_bit_by_bit(rule: Rule) -> None:
    start = clips()
    near, far = start[:1] * 1.001, start[1:] * 3
    points = torch.cat([near, far])
    projected = L2().project(rule, points.clone(), start, 1.0)
    assert projected[:1].equal(near)
    assert not projected[1:].equal(far)
    change = projected - start if isinstance(rule, Additive) else projected / start - 1
    assert float(change[1].norm()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(("rule", "ball"), MULTIPLICATIVE, ids=str)
def test_black_has_no_part_in_a_clips_whole_ratio(rule: Rule, ball: Ball) -> None:
    # A black pixel's ratio cannot be shrunk: if it counted, a clip would grow darker with every projection.
    start = clips(torch.float64)
    start[:, :, :, 1:3] = 0
    once = ball.project(rule, start * 5, start, 0.5)
    twice = ball.project(rule, once.clone(), start, 0.5)
    torch.testing.assert_close(twice, once, rtol=0, atol=1e-13)


def test_a_random_direction_is_uniform_on_the_sphere() -> None:
    start = torch.full((1, 3, 8, 20, 20), 0.5, dtype=torch.float64)
    noise = torch.rand(start.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    direction = L2().scatter(Additive(), start.clone(), noise, 2.0) - start
    assert float(direction.norm()) == pytest.approx(2)
    # Of a normal distribution 68.3 % and 95.4 % lie within one and two standard deviations.
    deviations = direction.flatten().abs() / direction.square().mean().sqrt()
    assert float((deviations < 1).double().mean()) == pytest.approx(0.683, abs=0.02)
    assert float((deviations < 2).double().mean()) == pytest.approx(0.954, abs=0.01)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "pgd-l2", "epsilon": 0.2, "step_size": 0.3},
        {"kind": "multav-l2", "epsilon": 1.5, "step_size": 2.5},
        {"kind": "multav-l2", "epsilon": 9.0, "step_size": 2.5, "bound": "literal"},
        {"kind": "multav-l2", "epsilon": 0.02, "step_size": 2.5, "bound": "rms"},
        {"kind": "multav-linf"},
        {"kind": "apgd-linf"},
    ],
    ids=str,
)
def test_an_enlarged_attack_does_to_repeated_values_what_it_does_to_each(fields: dict[str, Any]) -> None:
    attack = parse_attack(fields)
    small = clips(torch.float64)
    gradient = torch.randn(small.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def often(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, 2).repeat_interleave(3, 3).repeat_interleave(2, 4)

    enlarged = attack.enlarged(12.0)
    if isinstance(attack, FixedStepAttack):
        assert isinstance(enlarged, FixedStepAttack)
        moved = attack.step(small.clone(), gradient.clone())
        large = enlarged.step(often(small), often(gradient))
        torch.testing.assert_close(large, often(moved))
        assert not torch.equal(moved, small)
    else:
        moved, large = small * 1.2, often(small) * 1.2
    held = attack.project(moved.clone(), small)
    torch.testing.assert_close(enlarged.project(large, often(small)), often(held))
    assert fields.get("bound") == "rms" or not torch.equal(held, moved) or fields["kind"] == "multav-linf"
