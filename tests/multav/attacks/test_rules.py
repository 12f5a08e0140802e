"""Both rules, value by value."""

import math

import pytest
import torch

from multav.attacks.rules import Additive, Multiplicative

SIGNS = (-1.0, 0.0, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step_size", [1 + 1e-6, 1.01, 1.7, 3.55, 50.0, 12345.678, 1e6])
def test_multiplying_by_sign_uses_exactly_three_factors(step_size: float, dtype: torch.dtype) -> None:
    moved = Multiplicative().move_by_sign(
        torch.ones(3, dtype=dtype), torch.tensor(SIGNS, dtype=dtype), step_size
    )
    assert moved.equal(torch.tensor([1 / step_size, 1.0, step_size], dtype=dtype))


@pytest.mark.parametrize("direction", [-1.0, -0.3, 0.0, 0.7, 1.0])
def test_moving_along_any_direction(direction: float) -> None:
    start = torch.tensor([0.0, 0.25, 0.5], dtype=torch.float64)
    along = torch.full_like(start, direction)
    multiplied = Multiplicative().move(start.clone(), along.clone(), 1.7)
    torch.testing.assert_close(multiplied, start * math.pow(1.7, direction))
    assert multiplied[0] == 0
    torch.testing.assert_close(Additive().move(start.clone(), along.clone(), 0.1), start + 0.1 * direction)
    if direction == 0:
        assert multiplied.equal(start)


def test_what_lies_within() -> None:
    values = torch.tensor([0.0, 0.5, 1.0])
    low, high = Multiplicative().within(values, 1.25)
    assert low.tolist() == pytest.approx([0, 0.4, 0.8])
    assert high.tolist() == [0, 0.625, 1.25]
    low, high = Additive().within(values, 0.25)
    assert low.tolist() == [-0.25, 0.25, 0.75]
    assert high.tolist() == [0.25, 0.75, 1.25]
