"""What attacks climb: the formulas by hand, scales, ties, and too few classes."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from multav import craft, parse_attack
from multav.errors import InvalidSpec
from multav.losses import (
    LOSSES,
    cross_entropy,
    difference_of_logits_ratio,
    likeliest_others,
    toward_targets,
)
from tests.multav.laws import clips_of, small

torch.set_num_threads(1)


def logits_of(batch: int, classes: int) -> Tensor:
    return torch.randn(batch, classes, generator=torch.Generator().manual_seed(classes), dtype=torch.float64)


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_dlr_is_its_formula(classes: int) -> None:
    logits = logits_of(40, classes)
    labels = torch.arange(40) % classes
    found = difference_of_logits_ratio(logits, labels)
    for z, label, value in zip(logits.numpy(), labels.tolist(), found.tolist(), strict=True):
        falling = np.sort(z)[::-1]
        expected = -(z[label] - np.delete(z, label).max()) / (falling[0] - falling[2])
        assert value == pytest.approx(expected, rel=1e-12)
        assert (value > 0) == (z.argmax() != label)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_cross_entropy_is_its_formula(classes: int) -> None:
    logits, labels = logits_of(40, classes), torch.arange(40) % classes
    expected = logits.exp().sum(1).log() - logits[torch.arange(40), labels]
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


def test_dlr_does_not_change_with_scale_and_offset() -> None:
    logits, labels = logits_of(40, 6), torch.arange(40) % 6
    expected = difference_of_logits_ratio(logits, labels)
    for scale, offset in ((1e-6, 0), (1e6, 0), (1, 100), (50, -3)):
        torch.testing.assert_close(difference_of_logits_ratio(logits * scale + offset, labels), expected)
    assert not cross_entropy(logits * 2, labels).allclose(cross_entropy(logits, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_samples_do_not_see_each_other(name: str) -> None:
    logits, labels = logits_of(7, 5), torch.arange(7) % 5
    whole = LOSSES[name](logits, labels)
    assert whole.shape == (7,)
    for index in range(7):
        one = slice(index, index + 1)
        torch.testing.assert_close(LOSSES[name](logits[one], labels[one]), whole[one])


def test_dlr_of_equal_logits_is_a_number() -> None:
    logits = torch.zeros(2, 4, requires_grad=True)
    losses = difference_of_logits_ratio(logits, torch.tensor([0, 1]))
    assert losses.isfinite().all()
    (slope,) = torch.autograd.grad(losses.sum(), logits)
    assert slope.isfinite().all()


def test_dlr_needs_three_classes() -> None:
    with pytest.raises(ValueError, match='loss "dlr" needs at least 3 classes, the model has 2'):
        difference_of_logits_ratio(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 4 * 4, 2)).double()
    with pytest.raises(ValueError, match="dlr"):
        craft(
            net, clips_of(1, 3, 2, 4, 4), torch.tensor([0]), parse_attack({"kind": "pgd-linf", "loss": "dlr"})
        )


class Scaled(nn.Module):
    """A net whose logits are multiplied: as sure of itself as one likes."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.net(clips) * self.scale
        return logits


@pytest.mark.parametrize("kind", ["multav-linf", "pgd-l2", "roa", "apgd-ratio"])
def test_dlr_finds_the_same_clip_whatever_the_scale(kind: str, tiny_net: nn.Module) -> None:
    clips = clips_of(4, 3, 3, 7, 8)
    net = tiny_net.double().eval()
    labels = net(clips).argmax(1)
    attack = small(kind, loss="dlr")
    plain, sure = (craft(Scaled(net, scale), clips, labels, attack) for scale in (1.0, 1e3))
    torch.testing.assert_close(sure.clips, plain.clips, rtol=0, atol=1e-7)
    torch.testing.assert_close(sure.losses, plain.losses, rtol=1e-6, atol=1e-6)
    expected = difference_of_logits_ratio(plain.logits, labels)
    torch.testing.assert_close(plain.losses[-1], expected)
    assert (plain.losses[-1] > plain.losses[0]).all()


def test_dlr_climbs_where_cross_entropy_is_flat(tiny_net: nn.Module) -> None:
    clips = clips_of(4, 3, 3, 7, 8, dtype=torch.float32)
    labels = tiny_net.eval()(clips).argmax(1)
    sure = Scaled(tiny_net, 1e5)
    flat = craft(sure, clips, labels, parse_attack({"kind": "multav-linf"}))
    steep = craft(sure, clips, labels, parse_attack({"kind": "multav-linf", "loss": "dlr"}))
    assert flat.clips.equal(clips)
    assert (steep.losses[-1] > steep.losses[0]).all()


def test_targeted_dlr_is_its_formula() -> None:
    logits = logits_of(40, 6)
    labels = torch.arange(40) % 6
    targets = (labels + 1 + torch.arange(40) % 5) % 6
    found = toward_targets(logits, labels, targets)
    for z, label, target, value in zip(
        logits.numpy(), labels.tolist(), targets.tolist(), found.tolist(), strict=True
    ):
        falling = np.sort(z)[::-1]
        assert value == pytest.approx(-(z[label] - z[target]) / (falling[0] - (falling[2] + falling[3]) / 2))


def test_the_likeliest_others_leave_the_label_out_and_fall() -> None:
    logits, labels = logits_of(20, 5), torch.arange(20) % 5
    for most, expected in ((2, 2), (4, 4), (9, 4)):
        others = torch.stack(likeliest_others(logits, labels, most))
        assert others.shape == (expected, 20)
        assert not (others == labels).any()
        values = logits.gather(1, others.T)
        assert (values.diff(dim=1) <= 0).all()


class Corner(nn.Module):
    """Six classes by linear maps of the mean; only class 5, the least likely at the start, can be reached."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 40.0]))
        self.bias = nn.Parameter(torch.tensor([3.0, 2.9, 2.8, 2.7, 2.6, -18.5]))

    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((1, 2, 3, 4))[:, None] * self.weight + self.bias


@pytest.mark.parametrize("kind", ["apgd-ratio", "apgd-linf", "multav-linf", "multav-roa"])
def test_dlr_targeted_reaches_the_class_that_another_loss_overlooks(kind: str) -> None:
    clips = torch.full((2, 3, 2, 8, 8), 0.5)
    labels = torch.tensor([0, 0])
    epsilon = {"apgd-linf": 0.06}.get(kind, 1.12)
    fields = {"kind": kind, "epsilon": epsilon, "steps": 10, "loss": "dlr-targeted"}
    if kind == "multav-roa":
        fields |= {"size": [8, 8], "epsilon": 1.12, "step_size": 1.03}
    if kind == "multav-linf":
        fields |= {"step_size": 1.03}
    reached = craft(Corner(), clips, labels, parse_attack(fields))
    assert reached.logits.argmax(1).tolist() == [5, 5]
    # Without the fifth of the others there is nothing to find.
    assert craft(Corner(), clips, labels, parse_attack(fields | {"target_classes": 4})).logits.argmax(
        1
    ).tolist() == [0, 0]


def test_dlr_targeted_does_not_depend_on_the_batch(tiny_net: nn.Module) -> None:
    clips = clips_of(3, 3, 4, 8, 8)
    labels = torch.tensor([0, 1, 2])
    attack = small("multav-spa", loss="dlr-targeted", target_classes=2, restarts=2, early_stop=True)
    whole = craft(tiny_net, clips, labels, attack)
    for sample in range(3):
        one = slice(sample, sample + 1)
        alone = craft(tiny_net, clips[one], labels[one], attack, first_sample=sample)
        torch.testing.assert_close(alone.clips, whole.clips[one])


def test_dlr_targeted_says_what_it_needs() -> None:
    with pytest.raises(InvalidSpec, match="target_classes means nothing to loss 'dlr'"):
        parse_attack({"kind": "apgd-ratio", "loss": "dlr", "target_classes": 3})
    with pytest.raises(InvalidSpec, match="with targeted"):
        parse_attack({"kind": "apgd-ratio", "loss": "dlr-targeted", "targeted": True})
    with pytest.raises(ValueError, match='"dlr-targeted" needs at least 4 classes, the model has 3'):
        toward_targets(logits_of(2, 3), torch.tensor([0, 1]), torch.tensor([1, 2]))


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_targeted_dlr_moves_wherever_its_class_stands(rank: int) -> None:
    torch.manual_seed(rank)
    head = nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 6 * 6, 8))
    clips = clips_of(3, 3, 2, 6, 6).float()
    targets = head(clips).argsort(1, descending=True)[:, rank]
    attack = {
        "kind": "pgd-linf",
        "epsilon": 0.2,
        "step_size": 0.03,
        "steps": 10,
        "targeted": True,
        "loss": "dlr",
    }
    reached = craft(head, clips, targets, parse_attack(attack))
    assert (reached.losses[-1] < reached.losses[0]).all()
    assert (reached.logits.argmax(1) == targets).all()
    with pytest.raises(ValueError, match="at least 4 classes"):
        craft(nn.Sequential(nn.Flatten(), nn.Linear(216, 3)), clips, targets % 3, parse_attack(attack))
