"""The running average of the weights: soon free of where they began, and slow once they have moved."""

import pytest
import torch
from torch import nn

from multav.training.average import Average


def averaged(keeps: float, updates: int) -> float:
    """The average of a weight that was 0 at the start and 1 ever since."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = Average(layer, keeps)
    nn.init.ones_(layer.weight)
    for number in range(updates):
        average.update(layer, number)
    return float(average.tensors["weight"])


@pytest.mark.parametrize("keeps", [0.9, 0.999, 0.9999])
def test_nothing_of_the_start_is_left_in_a_short_training(keeps: float) -> None:
    """Of a constant share of 0.999 it would be 45 per cent after 800 steps."""
    assert averaged(keeps, 1) == pytest.approx(0.9)
    assert averaged(keeps, 2) == pytest.approx(1 - 0.1 * 2 / 11)
    assert averaged(keeps, 800) == pytest.approx(1, abs=1e-5)


def test_what_was_asked_for_is_kept_in_the_long_run() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = Average(layer, 0.9)
    before = float(average.tensors["weight"])
    nn.init.constant_(layer.weight, before + 1)
    average.update(layer, 10_000)
    assert float(average.tensors["weight"]) == pytest.approx(before + 0.1, abs=1e-6)


def test_counters_are_those_of_now() -> None:
    norm = nn.BatchNorm1d(2)
    average = Average(norm, 0.999)
    norm(torch.rand(4, 2))
    average.update(norm, 500)
    assert int(average.tensors["num_batches_tracked"]) == 1
