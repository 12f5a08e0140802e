"""A training that goes nowhere is stopped with a word of advice, and one that is only noisy is not."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from multav.errors import TrainingDiverged
from multav.training.watch import Watch
from tests.multav.training.small_trainings import Small, asked, trained


class Turning(Small):
    """Answers something else from a descent on."""

    def __init__(self, at: int, times: float) -> None:
        super().__init__()
        self.at, self.times = at, times
        self.descents = 0

    def forward(self, clips: Tensor) -> Tensor:
        logits = super().forward(clips)
        if self.training:
            self.descents += 1
            if self.descents >= self.at:
                return logits * self.times
        return logits


@pytest.mark.parametrize("times", [math.nan, math.inf])
@pytest.mark.parametrize("at", [1, 4])
def test_a_loss_that_is_no_number_stops_the_training_before_the_step(
    at: int, times: float, tmp_path: Path
) -> None:
    net = Turning(at, times)
    kept: list[Tensor] = []
    with pytest.raises(TrainingDiverged, match=rf"the loss is nan at step {at}: take a smaller learning rate"):
        trained(
            net,
            asked(checkpoint_minutes=1e-9),
            tmp_path,
            on_checkpoint=lambda *_: kept.append(net.head.weight.detach().clone()),
        )
    assert len(kept) == at - 1
    # The weights are those of the last step that was one.
    assert all(parameter.isfinite().all() for parameter in net.parameters())
    assert not kept or net.head.weight.equal(kept[-1])


def test_a_gradient_that_is_no_number_stops_it_too(tmp_path: Path) -> None:
    class Sharp(Small):
        def forward(self, clips: Tensor) -> Tensor:
            logits = super().forward(clips)
            # 0 in value, and infinite in slope.
            return logits + (logits - logits.detach()).abs().sqrt() if self.training else logits

    with pytest.raises(TrainingDiverged, match=r"the length of the gradient is (nan|inf) at step 1: .*gradient_norm"):
        trained(Sharp(), asked(), tmp_path)


def test_too_high_a_rate_is_stopped(tmp_path: Path) -> None:
    """Without batch norm and with an answer that grows with its weights, a rate of 100 ends in no number."""

    class Growing(Small):
        def forward(self, clips: Tensor) -> Tensor:
            return super().forward(clips) ** 3 * 10

    request = asked(steps=60, optimiser={"kind": "sgd", "learning_rate": 100.0}, attack=None)
    with pytest.raises(TrainingDiverged):
        trained(Growing(norm=False), request, tmp_path)


def looked(norms: list[float], loss: float = 1.0) -> Watch:
    watch = Watch()
    for step, norm in enumerate(norms):
        watch.look(step, loss, norm)
    return watch


def test_three_explosions_in_a_row() -> None:
    usual = [1.0, 2.0] * 10
    looked([*usual, 1e5, 1e5, 1.0, 1e5, 1e5])
    with pytest.raises(
        TrainingDiverged, match=r"gradients explode: at step 23 their length is 1e\+05 where 1\.5 was usual: take"
    ):
        looked([*usual, 1e5, 1e5, 1e5])
    # What is wild does not become usual.
    with pytest.raises(TrainingDiverged):
        looked([*usual, *[1e5, 1e5, 1.0] * 20, 1e5, 1e5, 1e5])


def test_the_beginning_is_not_judged() -> None:
    looked([1e-3] * 5 + [1e5] * 5)


def test_noise_and_slow_change_are_ordinary() -> None:
    draw = np.random.default_rng(0)
    looked(draw.lognormal(0, 2, 5000).tolist())
    looked(np.geomspace(1e-4, 1e6, 3000).tolist())
    looked(draw.permutation(np.repeat([1e-3, 0.5], 1000)).tolist())


def test_a_model_that_knew_everything_and_meets_an_attack_is_no_explosion() -> None:
    """Of a saturated network gradients are next to nothing, and of what it does not know as long as any."""
    looked([1e-7] * 40 + [0.5] * 20)
    looked([0.0] * 20 + [2.0] * 20)
    draw = np.random.default_rng(1)
    looked(np.where(draw.random(500) < 0.4, 1.0, 1e-6).tolist())
    with pytest.raises(TrainingDiverged):
        looked([1e-7] * 40 + [1e4] * 3)


@pytest.mark.parametrize("fields", [{}, {"optimiser": {"kind": "adamw", "learning_rate": 0.05}}])
def test_ordinary_noisy_training_goes_through(fields: dict[str, Any], tmp_path: Path) -> None:
    request = asked(**{"steps": 40, "batch_size": 2, "validation": {"every_epochs": 9}} | fields)
    assert trained(Small(dropout=0.5), request, tmp_path).steps == 40


def test_what_it_remembers_travels_as_json() -> None:
    watch = looked([float(norm) for norm in torch.linspace(0.5, 2, 80)])
    watch.look(80, 1.0, 1e6)
    other = Watch(**watch.state())  # type: ignore[arg-type]
    assert other == watch
    assert len(other.norms) == 50
    other.look(81, 1.0, 1e6)
    with pytest.raises(TrainingDiverged, match="step 83"):
        other.look(82, 1.0, 1e6)
    assert watch.wild == 1
