"""What attacks climb: the formulas by hand, scales, ties, and too few classes."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from multav import craft, parse_attack
from multav.losses import LOSSES, cross_entropy, difference_of_logits_ratio
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
