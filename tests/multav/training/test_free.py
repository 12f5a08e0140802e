"""Free training (Shafahi et al., 2019), written by hand in float64."""

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from multav.training.trainer import Stepped, Trainer
from tests.multav.training.small_trainings import ATTACK, Small, asked, clips_of
from tests.multav.training.test_step import draws

RATE = 0.05


def entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.logsumexp(logits, 1) - logits[torch.arange(len(labels)), labels]


def within(kind: str, point: Tensor, clips: Tensor, share: float) -> Tensor:
    """The nearest point of the bound, of which there is a share."""
    if kind == "multav-linf":
        far = 1.2**share
        return torch.maximum(torch.minimum(point, clips * far), clips / far).clamp(0, 1)
    if kind == "pgd-l2":
        change = point - clips
        size = change.square().sum((1, 2, 3, 4), keepdim=True).sqrt()
        return (clips + change * (0.8 * share / size).clamp(max=1)).clamp(0, 1)
    return torch.maximum(torch.minimum(point, clips + 0.05 * share), clips - 0.05 * share).clamp(0, 1)


def anywhere(kind: str, clips: Tensor, noise: Tensor, share: float) -> Tensor:
    """A random point of the bound."""
    if kind == "multav-linf":
        return within(kind, clips * 1.2 ** (share * noise), clips, share)
    if kind == "pgd-l2":
        return within(kind, (noise + 1) / 2, clips, share)
    return within(kind, clips + 0.05 * share * noise, clips, share)


def moved(kind: str, point: Tensor, gradient: Tensor, clips: Tensor, share: float) -> Tensor:
    """A step as long as the bound is far, and back into it."""
    if kind == "multav-linf":
        return within(kind, point * 1.2 ** (share * gradient.sign()), clips, share)
    if kind == "pgd-l2":
        length = gradient.square().sum((1, 2, 3, 4), keepdim=True).sqrt()
        return within(kind, point + 0.8 * share * gradient / length, clips, share)
    return within(kind, point + 0.05 * share * gradient.sign(), clips, share)


def by_hand(kind: str, steps: int, replays: int, ramp: float, clean: list[int]) -> tuple[Small, list[float]]:
    net, step = Small().double(), 0
    losses: list[float] = []
    net.train()

    def share() -> float:
        return min(1.0, max(1e-3, step / (ramp * steps))) if ramp else 1.0

    while step < steps:
        clips, labels = clips_of(4, seed=step)
        clips = clips.double()
        point = anywhere(kind, clips, draws(step, tuple(clips.shape)), share())
        point[clean] = clips[clean]
        for _ in range(min(replays, steps - step)):
            point.requires_grad_()
            weights = list(net.parameters())
            loss = entropy(net(point), labels).mean()
            gradient, *descent = torch.autograd.grad(loss, [point, *weights])
            with torch.no_grad():
                for weight, along in zip(weights, descent, strict=True):
                    weight.sub_(along, alpha=RATE)
            losses.append(float(loss.detach()))
            step += 1
            point = moved(kind, point.detach(), gradient, clips, share())
            point[clean] = clips[clean]
    return net, losses


@pytest.mark.parametrize(
    ("kind", "fields", "ramp", "clean"),
    [
        ("multav-linf", ATTACK, 0.0, []),
        ("multav-linf", ATTACK, 0.7, []),
        ("multav-linf", ATTACK, 0.0, [1, 3]),
        ("pgd-linf", {"epsilon": 0.05, "step_size": 0.02}, 0.0, []),
        ("pgd-l2", {"epsilon": 0.8, "step_size": 0.5}, 0.0, []),
    ],
)
def test_every_replay_moves_weights_and_clips_by_one_backward_pass(
    kind: str, fields: dict[str, Any], ramp: float, clean: list[int]
) -> None:
    steps, replays = 7, 3
    net = Small()
    request = asked(
        method="free",
        replays=replays,
        attack={**fields, "kind": kind},
        ramp=ramp,
        clean_fraction=len(clean) / 4,
        optimiser={"kind": "sgd", "learning_rate": RATE, "momentum": 0.0, "weight_decay": 0.0},
    )
    training = Trainer(net, request, steps=steps, steps_per_epoch=4)
    found: list[Stepped] = []
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


def test_all_replays_but_the_first_are_at_the_bound() -> None:
    """Whatever steps the attack takes elsewhere; the first one is somewhere within."""

    class Watched(Small):
        def forward(self, clips: Tensor) -> Tensor:
            if self.training:
                seen.append(clips.detach().clone())
            return super().forward(clips)

    seen: list[Tensor] = []
    request = asked(method="free", attack={"kind": "multav-linf", "epsilon": 1.1, "step_size": 1.01})
    clips, labels = clips_of(4)
    clips = clips * 0.9
    Trainer(Watched(), request, steps=4, steps_per_epoch=4).train_on(clips, labels)
    assert len(seen) == 4
    # Those that the convolution sees: the others have no gradient.
    far = [((each / clips).log().abs() / log(1.1))[:, :, :3, :11, :11] for each in seen]
    assert all(float(each.max()) < 1 + 1e-4 for each in far)
    at_the_bound = [float((each > 1 - 1e-4).float().mean()) for each in far]
    assert at_the_bound[0] < 0.01
    assert 0.3 < float(far[0].mean()) < 0.7
    assert at_the_bound[1] > 0.4
    # But for values whose gradient has turned since.
    assert min(at_the_bound[2:]) > 0.8
