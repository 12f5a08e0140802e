"""What a look says of a model, against loops of its own in float64."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from multav.attacks.catalogue import parse_attack
from multav.clip_attack import craft
from multav.errors import Cancelled
from multav.precision import Precision
from multav.training.look import Look, look
from tests.multav.threshold import Threshold, near
from tests.multav.training.small_trainings import ATTACK, Small, clips_of

Batch = tuple[Tensor, Tensor, Sequence[int]]


@dataclass(frozen=True)
class Shown:
    clips: Tensor
    labels: Tensor
    numbers: tuple[int, ...]

    def batches(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self.labels), size):
            part = slice(start, start + size)
            yield self.clips[part], self.labels[part], self.numbers[part]


def sharp() -> Small:
    """A network that an attack moves, and not about every clip."""
    net = Small(seed=2, dropout=0.5)
    with torch.no_grad():
        net.head.weight.mul_(8)
        assert isinstance(net.norm, nn.BatchNorm3d)
        net.train()
        for _ in range(30):
            net(clips_of(64, seed=9)[0])
        # In the middle of what it answers to noise.
        net.eval()
        net.head.bias.sub_(net(clips_of(64, seed=9)[0]).mean(0))
    return net


def shown(net: nn.Module, count: int = 40) -> Shown:
    """Clips that the network knows, but for every fifth."""
    clips, _ = clips_of(count, seed=4)
    with torch.no_grad():
        labels = net(clips).argmax(1)
    labels[::5] = (labels[::5] + 1) % 3
    return Shown(clips, labels, tuple(range(7, 7 + 3 * count, 3)))


def looked(net: nn.Module, batches: Iterator[Batch], *attacks: dict[str, Any], seed: int = 0) -> Look:
    found = look(
        net,
        batches,
        [parse_attack(attack) for attack in attacks],
        seed=seed,
        precision="float32",
        check=lambda: None,
    )
    assert found is not None
    return found


def path(net: nn.Module, kind: str, clips: Tensor, labels: Tensor) -> list[Tensor]:
    """The points of an attack of four steps."""
    points = [clips]
    for _ in range(4):
        point = points[-1].clone().requires_grad_()
        logits = net(point)
        loss = (torch.logsumexp(logits, 1) - logits[torch.arange(len(labels)), labels]).sum()
        (gradient,) = torch.autograd.grad(loss, point)
        if kind == "multav-linf":
            moved = point.detach() * 1.005 ** gradient.sign()
            point = torch.maximum(torch.minimum(moved, clips * 1.012), clips / 1.012)
        else:
            moved = point.detach() + 0.004 * gradient.sign()
            point = torch.maximum(torch.minimum(moved, clips + 0.01), clips - 0.01)
        points.append(point.clamp(0, 1).detach())
    return points


MULT = {"kind": "multav-linf", "epsilon": 1.012, "step_size": 1.005, "steps": 4}
ADD = {"kind": "pgd-linf", "epsilon": 0.01, "step_size": 0.004, "steps": 4}


@pytest.mark.parametrize("attacks", [(), (MULT,), (ADD,), (MULT, ADD), (ADD, MULT)])
def test_accuracies_are_those_of_independent_loops(attacks: tuple[dict[str, Any], ...]) -> None:
    net = sharp()
    own = Small(seed=2).double()
    own.load_state_dict(net.state_dict())
    own.eval()
    asked_of = shown(net)
    clips, labels = asked_of.clips.double(), asked_of.labels
    with torch.no_grad():
        logits = own(clips)
        right = logits.argmax(1) == labels
        loss = (torch.logsumexp(logits, 1) - logits[torch.arange(len(labels)), labels]).mean()
    robust = right.clone()
    for attack in attacks:
        for point in path(own, attack["kind"], clips, labels):
            robust &= own(point).argmax(1) == labels
    net.train()
    found = looked(net, asked_of.batches(16), *attacks)
    assert net.training
    assert found.clips == 40
    assert found.clean_accuracy == float(right.double().mean()) == 0.8
    assert found.robust_accuracy == float(robust.double().mean())
    assert found.loss == pytest.approx(float(loss), rel=1e-5)
    assert not attacks or 0.1 < found.robust_accuracy < 0.7


def test_a_clip_that_is_misread_on_the_way_is_not_robust() -> None:
    class Valley(nn.Module):
        """Misreads clips whose mean is near a half, and is the surer of others the further they are from it."""

        def forward(self, clips: Tensor) -> Tensor:
            right = 1000 * (clips.mean(dim=(1, 2, 3, 4)) - 0.5) ** 2 - 0.4
            return torch.stack([right, torch.zeros_like(right)], 1)

    clips, labels = torch.full((2, 3, 4, 12, 12), 0.45), torch.zeros(2, dtype=torch.int64)
    # To 0.51 and back again.
    attack = ADD | {"epsilon": 0.06, "step_size": 0.06, "steps": 2}
    assert craft(Valley(), clips, labels, parse_attack(attack)).logits.argmax(1).tolist() == [0, 0]
    found = looked(Valley(), Shown(clips, labels, (0, 1)).batches(2), attack)
    assert (found.clean_accuracy, found.robust_accuracy) == (1.0, 0.0)


def test_a_clip_that_only_bfloat16_misreads_is_attacked_to_the_end() -> None:
    clips, labels, attack = near()
    for precision in get_args(Precision):
        found = look(
            Threshold(),
            [(clips, labels, [0, 1, 2])],
            [attack],
            seed=0,
            precision=precision,
            check=lambda: None,
        )
        assert found is not None
        assert (found.right, found.held) == (3, 1), precision


def test_several_attacks_are_the_worst_of_each_clip() -> None:
    net = sharp()
    asked_of = shown(net)
    alone = [looked(net, asked_of.batches(40), attack).robust_accuracy for attack in (MULT, ADD)]
    together = looked(net, asked_of.batches(40), MULT, ADD).robust_accuracy
    assert together <= min(alone)
    assert looked(net, asked_of.batches(40), ADD, MULT).robust_accuracy == together


RANDOM = {
    "kind": "multav-spa",
    "pixels": 12,
    "epsilon": 1.5,
    "step_size": 1.3,
    "steps": 1,
    "random_start": True,
}


def test_draws_depend_on_the_clips_number_and_not_on_its_batch() -> None:
    net = sharp()
    asked_of = shown(net, 60)
    expected = [looked(net, asked_of.batches(60), RANDOM, seed=seed) for seed in range(4)]
    for size in (1, 7, 16):
        for seed, whole in enumerate(expected):
            found = looked(net, asked_of.batches(size), RANDOM, seed=seed)
            assert (found.clean_accuracy, found.robust_accuracy) == (
                whole.clean_accuracy,
                whole.robust_accuracy,
            )
            assert found.loss == pytest.approx(whole.loss, rel=1e-5)
    # It is a matter of luck, so that the above says something.
    assert len({each.robust_accuracy for each in expected}) > 1
    renumbered = Shown(asked_of.clips, asked_of.labels, tuple(range(60)))
    others = [looked(net, renumbered.batches(60), RANDOM, seed=seed) for seed in range(4)]
    assert [each.robust_accuracy for each in others] != [each.robust_accuracy for each in expected]


def test_a_look_touches_neither_the_model_nor_the_clips() -> None:
    net = sharp()
    asked_of = shown(net, 8)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    clips = asked_of.clips.clone()
    looked(net.train(), asked_of.batches(4), MULT)
    assert all(tensor.equal(state[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert asked_of.clips.equal(clips)


def test_nothing_to_look_at() -> None:
    assert look(Small(), [], [parse_attack(ATTACK)], seed=0, precision="float32", check=lambda: None) is None


def test_it_can_be_broken_off_between_the_steps_of_an_attack() -> None:
    net = sharp()
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Cancelled

    attack = parse_attack(MULT)
    with pytest.raises(Cancelled):
        look(net, shown(net).batches(40), [attack], seed=0, precision="float32", check=check)
