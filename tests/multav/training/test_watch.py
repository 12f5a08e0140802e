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
from tests.multav.training.small_trainings import ATTACK, Small, asked, trained


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
    with pytest.raises(
        TrainingDiverged, match=rf"the loss is nan at step {at}: take a smaller learning rate"
    ):
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

    with pytest.raises(
        TrainingDiverged, match=r"the length of the gradient is (nan|inf) at step 1: .*gradient_norm"
    ):
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
        watch.look(step, loss, norm, 2.3)
    return watch


def test_three_explosions_in_a_row() -> None:
    usual = [1.0, 2.0] * 10
    looked([*usual, 1e5, 1e5, 1.0, 1e5, 1e5])
    with pytest.raises(
        TrainingDiverged,
        match=r"gradients explode: at step 23 their length is 1e\+05 where 1\.5 was usual: take",
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
    watch.look(80, 1.0, 1e6, 2.3)
    other = Watch(**watch.state())  # type: ignore[arg-type]
    assert other == watch
    assert len(other.norms) == 50
    other.look(81, 1.0, 1e6, 2.3)
    with pytest.raises(TrainingDiverged, match="step 83"):
        other.look(82, 1.0, 1e6, 2.3)
    assert watch.wild == 1


def test_losses_travel_too() -> None:
    watch = losses([2.0] * 4 + [900.0] * 5)
    assert (watch.first, len(watch.losses), watch.lost) == (2.0, 9, 2)
    other = Watch(**watch.state())  # type: ignore[arg-type]
    with pytest.raises(TrainingDiverged, match="step 10"):
        other.look(9, 900.0, 1.0, 2.3)


def losses(found: list[float], chance: float = 2.3) -> Watch:
    """A watch that has seen these losses, and gradients that say nothing."""
    watch = Watch()
    for step, loss in enumerate(found):
        watch.look(step, loss, 1.0, chance)
    return watch


def test_losses_far_above_chance() -> None:
    """As AdamW at a rate of 100 has them before the network comes to rest; no gradient is known to be usual then."""
    with pytest.raises(
        TrainingDiverged,
        match=r"the loss explodes: at step 7 it is 13\.1, and 4\.57e\+04 is usual by now, where guessing has 2\.3: "
        r"take a smaller learning rate, a warm-up .* gradient_norm",
    ):
        losses([11.0, 887e3, 361e3, 45.7e3, 80.8e3, 21e3, 13.1, 22.4])
    with pytest.raises(TrainingDiverged, match=r"step 10[5-9]"):
        losses([2.0] * 100 + [300.0] * 9)


def test_a_few_wild_losses_are_no_divergence() -> None:
    losses([11.0, 887e3, 361e3, 13.0, 11.0, 10.0, 9.0, 8.0])
    losses(([2.0] * 8 + [1e6] * 4) * 10)


def test_hard_beginnings_are_no_divergence() -> None:
    """An overconfident network meets a strong attack; one with logits of thousands learns to have smaller ones."""
    losses([0.001] * 10 + [60.0] * 200)
    losses([0.5] * 5 + [25.0] * 200, chance=0.69)
    losses([float(loss) for loss in np.geomspace(5000, 1, 300)])
    losses([50.0 * (1 + 6)] * 100, chance=2.3 * (1 + 6))


HARD = ATTACK | {"epsilon": 1.5, "step_size": 1.2, "steps": 3}
ADAMW: dict[str, Any] = {"kind": "adamw", "learning_rate": 2e-3}
HONEST: dict[str, dict[str, Any]] = {
    "the paper's recipe": {"optimiser": {"kind": "sgd", "learning_rate": 1e-3, "momentum": 0.9}},
    "the small recipe": {"optimiser": ADAMW, "schedule": {"kind": "cosine", "warm_up": 0.2}, "ramp": 0.4},
    "label smoothing": {"label_smoothing": 0.2},
    "trades": {"method": "trades", "beta": 100.0},
    "a high rate": {"optimiser": ADAMW | {"learning_rate": 0.3}},
    "a rate that teaches nothing": {"optimiser": {"kind": "sgd", "learning_rate": 1e-9}},
}


def overconfident() -> Small:
    """Knows little, and is ten times as sure of it as others."""
    net = Small()
    with torch.no_grad():
        net.head.weight.mul_(10)
    return net


@pytest.mark.parametrize("name", HONEST)
def test_hard_but_honest_trainings_go_through(name: str, tmp_path: Path) -> None:
    request = asked(**{"steps": 40, "attack": HARD, "validation": {"every_epochs": 9}} | HONEST[name])
    assert trained(overconfident(), request, tmp_path).steps == 40


@pytest.mark.parametrize("method", ["madry", "trades", "free"])
@pytest.mark.parametrize("fields", [{}, {"gradient_norm": 1.0}, {"accumulation": 2}])
def test_adamw_at_a_rate_of_a_hundred(method: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """With batch norm nothing overflows, and the training would end as if it had succeeded."""
    request = asked(steps=40, method=method, optimiser=ADAMW | {"learning_rate": 100.0}, **fields)
    with pytest.raises(TrainingDiverged, match=r"the loss explodes: at step [1-3]?\d "):
        trained(Small(), request, tmp_path)
