"""Free training (Shafahi et al., 2019), written by hand in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor

from multav.training.trainer import Trainer
from tests.multav.training.small_trainings import ATTACK, Small, asked, clips_of

RATE = 0.05


def entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.logsumexp(logits, 1) - logits[torch.arange(len(labels)), labels]


def moved(kind: str, point: Tensor, gradient: Tensor, clips: Tensor, share: float) -> Tensor:
    """One step and back into the bound, of which there is a share."""
    if kind == "multav-linf":
        far = 1.2**share
        point = point * (1.1**share) ** gradient.sign()
        return torch.maximum(torch.minimum(point, clips * far), clips / far).clamp(0, 1)
    if kind == "pgd-l2":
        length = gradient.square().sum((1, 2, 3, 4), keepdim=True).sqrt()
        change = point + 0.5 * share * gradient / length - clips
        size = change.square().sum((1, 2, 3, 4), keepdim=True).sqrt()
        return (clips + change * (0.8 * share / size).clamp(max=1)).clamp(0, 1)
    point = point + 0.02 * share * gradient.sign()
    return torch.maximum(torch.minimum(point, clips + 0.05 * share), clips - 0.05 * share).clamp(0, 1)


def by_hand(kind: str, steps: int, replays: int, ramp: float, clean: int) -> tuple[Small, list[float]]:
    net, losses, step = Small().double(), [], 0
    net.train()
    while step < steps:
        clips, labels = clips_of(4, seed=step)
        clips = clips.double()
        point = clips.clone()
        for _ in range(min(replays, steps - step)):
            point.requires_grad_()
            weights = list(net.parameters())
            loss = entropy(net(point), labels).mean()
            gradient, *descent = torch.autograd.grad(loss, [point, *weights])
            with torch.no_grad():
                for weight, along in zip(weights, descent, strict=True):
                    weight -= RATE * along
            share = min(1.0, max(1e-3, step / (ramp * steps))) if ramp else 1.0
            point = moved(kind, point.detach(), gradient, clips, share)
            point[:clean] = clips[:clean]
            losses.append(float(loss.detach()))
            step += 1
    return net, losses


@pytest.mark.parametrize(
    ("kind", "fields", "ramp", "clean"),
    [
        ("multav-linf", ATTACK, 0.0, 0),
        ("multav-linf", ATTACK, 0.7, 0),
        ("multav-linf", ATTACK, 0.0, 2),
        ("pgd-linf", {"epsilon": 0.05, "step_size": 0.02}, 0.0, 0),
        ("pgd-l2", {"epsilon": 0.8, "step_size": 0.5}, 0.0, 0),
    ],
)
def test_every_replay_moves_weights_and_clips_by_one_backward_pass(
    kind: str, fields: dict[str, Any], ramp: float, clean: int
) -> None:
    steps, replays = 7, 3
    net = Small()
    request = asked(
        method="free",
        replays=replays,
        attack={**fields, "kind": kind},
        ramp=ramp,
        clean_fraction=clean / 4,
        optimiser={"kind": "sgd", "learning_rate": RATE, "momentum": 0.0, "weight_decay": 0.0},
    )
    training = Trainer(net, request, steps=steps, steps_per_epoch=4)
    found = []
    while training.step < steps:
        taken = training.train_on(*clips_of(4, seed=training.step))
        # The last batch is replayed as often as there are steps left.
        assert len(taken) == min(replays, steps - len(found))
        found += taken
    own, losses = by_hand(kind, steps, replays, ramp, clean)
    assert [step.loss for step in found] == pytest.approx(losses, rel=1e-4)
    for weight, wanted in zip(net.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(weight.double(), wanted, rtol=1e-3, atol=2e-5)


def test_replays_see_more_and_more_of_the_attack() -> None:
    request = asked(method="free", replays=3, attack=ATTACK, optimiser={"kind": "sgd", "learning_rate": 1e-9})
    taken = Trainer(Small(), request, steps=3, steps_per_epoch=3).train_on(*clips_of(4))
    assert taken[0].loss < taken[1].loss < taken[2].loss
