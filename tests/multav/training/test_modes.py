"""In which mode, against which weights and with what side effects clips are crafted and descended on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multav.training.trainer import Trainer
from tests.multav.training.small_trainings import ATTACK, Small, asked, clips_of, trained

MIXED = {"kind": "mixture", "attacks": [ATTACK, ATTACK | {"kind": "multav-linf", "epsilon": 1.1}]}


class Watched(Small):
    """Remembers of each pass: the mode of every layer, whether weights wanted gradients, clips and weights."""

    def __init__(self) -> None:
        super().__init__(dropout=0.3)
        self.passes: list[tuple[set[bool], bool, Tensor, Tensor]] = []

    def forward(self, clips: Tensor) -> Tensor:
        modes = {module.training for module in self.modules()}
        wanted = any(parameter.requires_grad for parameter in self.parameters())
        self.passes.append((modes, wanted, clips.detach().clone(), self.head.weight.detach().clone()))
        return super().forward(clips)

    @property
    def crafting(self) -> list[tuple[set[bool], bool, Tensor, Tensor]]:
        return [each for each in self.passes if not each[1]]

    @property
    def descending(self) -> list[tuple[set[bool], bool, Tensor, Tensor]]:
        return [each for each in self.passes if each[1]]


def trainer(net: nn.Module, steps: int = 3, **fields: Any) -> Trainer:
    return Trainer(net, asked(**fields), steps=steps, steps_per_epoch=2)


@pytest.mark.parametrize(
    ("fields", "crafts"),
    [
        # Two steps of the attack; nobody asks what came of them, unless it is to be compared.
        ({}, 2),
        ({"method": "fast"}, 1),
        ({"attack": MIXED}, 2),
        ({"attack": MIXED | {"choice": "worst"}}, 6),
        ({"method": "free", "replays": 3}, 0),
        ({"attack": None}, 0),
    ],
)
def test_eval_while_crafting_and_train_while_descending(fields: dict[str, Any], crafts: int) -> None:
    net = Watched().train()
    training = trainer(net, **fields)
    clips, labels = clips_of(4)
    while training.step < 3:
        before = net.head.weight.detach().clone()
        net.passes.clear()
        steps = len(training.train_on(clips, labels))
        assert all(modes == {False} for modes, *_ in net.crafting)
        assert all(modes == {True} for modes, *_ in net.descending)
        assert len(net.crafting) == crafts * steps
        assert len(net.descending) == steps
        # Against the weights of now, which every step changes.
        assert all(weights.equal(before) for *_, weights in [*net.crafting, net.descending[0]])
        assert not net.head.weight.equal(before)
        assert {module.training for module in net.modules()} == {False}
        assert all(parameter.requires_grad for parameter in net.parameters())


def statistics(net: Small, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of what batch norm sees, in float64."""
    with torch.no_grad():
        convolved = nn.functional.conv3d(clips.double() * 3 - 1, net.conv.weight.double(), stride=2)
    channels = convolved.transpose(0, 1).flatten(1)
    return channels.mean(1), channels.var(1)


@pytest.mark.parametrize("method", ["madry", "fast", "free"])
def test_running_statistics_move_once_a_step_and_by_the_adversarial_clips(method: str) -> None:
    net = Watched()
    training = trainer(net, method=method, **({"replays": 2} if method == "free" else {}))
    clips, labels = clips_of(4)
    expected = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    while training.step < 3:
        net.passes.clear()
        before = Small()
        before.load_state_dict(net.state_dict())
        taken = training.train_on(clips, labels)
        shown = [clips for _, _, clips, _ in net.descending]
        assert [each.equal(clips) for each in shown] == [False] * len(taken)
        assert isinstance(net.norm, nn.BatchNorm3d)
        found = net.norm.running_mean, net.norm.running_var
        assert found[0] is not None
        assert found[1] is not None
        if len(taken) == 1:
            for running, seen in zip(expected, statistics(before, shown[0]), strict=True):
                running.mul_(0.9).add_(seen, alpha=0.1)
            torch.testing.assert_close(found[0].double(), expected[0], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-5, atol=1e-6)
        else:
            expected = found[0].double(), found[1].double()
        assert int(net.norm.num_batches_tracked) == training.step  # type: ignore[arg-type]


def test_crafting_leaves_nothing_behind() -> None:
    """No gradient of a weight, no changed buffer, and the caller's clips as they were."""
    net = Small(dropout=0.3)
    training = trainer(net)
    clips, labels = clips_of(4)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    same = clips.clone()
    made = training._adversary.craft(net, clips, labels, 0)
    assert not made.equal(clips)
    assert made.requires_grad is False
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(tensor.equal(state[name]) for name, tensor in net.state_dict().items())
    training.train_on(clips, labels)
    assert clips.equal(same)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_look_changes_nothing_that_is_trained(tmp_path: Path) -> None:
    often = trained(Small(), asked(validation={"every_epochs": 1}), tmp_path)
    net = Small()
    once = trained(net, asked(validation={"every_epochs": 9}), tmp_path)
    expected = often.model.state_dict() if often.look.step == once.steps else net.state_dict()
    assert int(net.norm.num_batches_tracked) == once.steps  # type: ignore[arg-type]
    other = Small()
    trained(other, asked(validation={"every_epochs": 1}), tmp_path)
    for name, tensor in net.state_dict().items():
        assert other.state_dict()[name].equal(tensor)
        assert expected[name].equal(tensor)


def test_the_model_that_comes_back_is_a_copy_in_eval_mode(tmp_path: Path) -> None:
    net = Small()
    done = trained(net, asked(select="last"), tmp_path)
    assert done.model is not net
    assert {module.training for module in [*done.model.modules(), *net.modules()]} == {False}
    for name, tensor in done.model.state_dict().items():
        assert tensor.equal(net.state_dict()[name])
