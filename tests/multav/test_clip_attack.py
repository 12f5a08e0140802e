"""Attacks against the equations, and the laws that every attack keeps."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from multav import craft, parse_attack
from multav.attacks.catalogue import ATTACKS
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.spec import AttackSpec
from tests.multav.equations import Array, adaptive, adaptive_iterates, iterates
from tests.multav.laws import assert_in_range, assert_within, small

torch.set_num_threads(1)
KINDS = list(ATTACKS)


def random_clips(seed: int = 0, batch: int = 3, shape: tuple[int, int, int] = (4, 9, 11)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    clips = torch.rand(batch, 3, *shape, generator=generator)
    # Black, white and nearly black values are where bounds break.
    clips[:, :, :, 0, 0], clips[:, :, :, 1, 1], clips[:, :, :, 2, 2] = 0.0, 1.0, 1e-6
    return clips


def labels_for(clips: Tensor) -> Tensor:
    return torch.arange(len(clips)) % 4


def equation(
    net: nn.Module, clips: Tensor, labels: Tensor, mask: Tensor, attack: AttackSpec
) -> tuple[Array, list[Array]]:
    """Results and paths of the equations in float64, one clip after the other, against a real network."""
    net = net.double().eval()
    results, paths = [], []
    for clean, label, inside in zip(clips.double().numpy(), labels, mask.numpy(), strict=True):

        def slope(x: Array, label: Tensor = label) -> tuple[float, Array]:
            leaf = torch.tensor(x[None], requires_grad=True)
            loss = functional.cross_entropy(net(leaf), label[None])
            (gradient,) = torch.autograd.grad(loss, leaf)
            return float(loss.detach()), gradient[0].numpy()

        if adaptive(attack.kind):
            path, best, _ = adaptive_iterates(attack.model_dump(), clean, slope)
        else:
            path = iterates(attack.model_dump(), clean, np.broadcast_to(inside, clean.shape), slope)
            best = path[-1]
        results.append(best)
        paths.append(path)
    return np.stack(results), [np.stack(points) for points in zip(*paths, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("steps", [1, 5, 8])
def test_the_equation_in_float64(kind: str, targeted: bool, steps: int, tiny_net: nn.Module) -> None:
    clips, attack = random_clips(), small(kind, targeted=targeted, steps=steps)
    labels = labels_for(clips)
    tiny_net.double()
    crafted = craft(tiny_net, clips.double(), labels, attack)
    expected, points = equation(tiny_net, clips, labels, crafted.mask, attack)
    np.testing.assert_allclose(crafted.clips.numpy(), expected, rtol=0, atol=1e-9)
    logits = tiny_net(torch.tensor(expected)).detach()
    np.testing.assert_allclose(crafted.logits.numpy(), logits.numpy(), atol=1e-7)
    for losses, point in zip(crafted.losses[:-1], points, strict=False):
        there = functional.cross_entropy(tiny_net(torch.tensor(point)), labels, reduction="none")
        np.testing.assert_allclose(losses.numpy(), there.detach().numpy(), rtol=1e-6)
    final = functional.cross_entropy(logits, labels, reduction="none")
    np.testing.assert_allclose(crafted.losses[-1].numpy(), final.numpy(), rtol=1e-7)
    tiny_net.float()
    if not adaptive(kind):
        single = craft(tiny_net, clips, labels, attack).clips.double().numpy()
        # In float32 the sign of a tiny gradient may differ; almost everywhere both agree.
        assert np.mean(np.abs(single - expected) > 1e-5) < 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("random_start", [False, True])
def test_splitting_the_batch_changes_nothing(kind: str, random_start: bool, tiny_net: nn.Module) -> None:
    clips = random_clips(batch=5)
    labels = labels_for(clips)
    attack = small(kind, random_start=random_start)
    net = tiny_net.double()
    whole = craft(net, clips.double(), labels, attack, seed=3, first_sample=10).clips
    for index in range(5):
        one = slice(index, index + 1)
        alone = craft(net, clips[one].double(), labels[one], attack, seed=3, first_sample=10 + index).clips
        torch.testing.assert_close(alone, whole[one], rtol=0, atol=1e-12)
    other = craft(net, clips.double(), labels, attack, seed=4, first_sample=10).clips
    drawn = random_start or attack.region.drawn
    assert other.equal(whole) != drawn


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_left_as_it_was_found(kind: str, tiny_net: Any) -> None:
    tiny_net.train()
    tiny_net.dropout.eval()
    tiny_net.head.weight.requires_grad_(False)
    tiny_net.conv.weight.grad = torch.ones_like(tiny_net.conv.weight)
    state = {name: tensor.clone() for name, tensor in tiny_net.state_dict().items()}
    modes = [module.training for module in tiny_net.modules()]
    flags = [parameter.requires_grad for parameter in tiny_net.parameters()]
    rng = torch.get_rng_state()
    clips = random_clips()
    craft(tiny_net, clips, labels_for(clips), small(kind, random_start=True))
    assert [module.training for module in tiny_net.modules()] == modes
    assert [parameter.requires_grad for parameter in tiny_net.parameters()] == flags
    assert all(tensor.equal(state[name]) for name, tensor in tiny_net.state_dict().items())
    assert tiny_net.conv.weight.grad.equal(torch.ones_like(tiny_net.conv.weight))
    assert tiny_net.conv.bias.grad is None
    assert torch.get_rng_state().equal(rng)


def test_it_is_left_as_found_after_an_interruption_too(tiny_net: nn.Module) -> None:
    def stop(step: int) -> None:
        if step == 2:
            raise InterruptedError

    tiny_net.train()
    clips = random_clips()
    with pytest.raises(InterruptedError):
        craft(tiny_net, clips, labels_for(clips), parse_attack({"kind": "multav-linf"}), on_step=stop)
    assert tiny_net.training
    assert all(parameter.requires_grad for parameter in tiny_net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_gradient_moves_nothing(kind: str) -> None:
    class Blind(nn.Module):
        def forward(self, clips: Tensor) -> Tensor:
            # Only the first frame is looked at.
            seen = clips[:, :, 0].flatten(1) * 0.01
            return torch.stack([seen.sum(1), seen.square().sum(1)], dim=1)

    clips = random_clips()
    crafted = craft(Blind(), clips, torch.zeros(3, dtype=torch.int64), small(kind))
    assert crafted.clips[:, :, 1:].equal(clips[:, :, 1:])
    assert not crafted.clips[:, :, 0].equal(clips[:, :, 0])


class Linear(nn.Module):
    """Two logits, the second one a known direction: the loss of label 0 grows along it."""

    def __init__(self, direction: Tensor) -> None:
        super().__init__()
        self.direction = direction

    def forward(self, clips: Tensor) -> Tensor:
        score = (clips * self.direction).flatten(1).sum(1) * 0.01
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targeted", [False, True])
def test_the_planted_direction_is_found_and_the_loss_is_monotone(kind: str, targeted: bool) -> None:
    clips = random_clips().clamp(0.2, 0.6)
    direction = torch.randn(clips.shape[1:], generator=torch.Generator().manual_seed(1))
    labels = torch.full((3,), int(targeted))
    attack = small(kind, targeted=targeted, steps=6)
    crafted = craft(Linear(direction), clips, labels, attack)
    moved = (crafted.clips - clips).sign()
    assert moved.equal(direction.sign() * crafted.mask)
    change = crafted.losses[1:] - crafted.losses[:-1]
    assert ((change <= 1e-6) if targeted else (change >= -1e-6)).all()
    if kind == "multav-linf":
        # 1.01 ** 5 is above 1.04: after six steps every value lies on the bound.
        torch.testing.assert_close((crafted.clips / clips).log().abs(), torch.full_like(clips, np.log(1.04)))


def test_losses_are_those_of_the_iterates(tiny_net: nn.Module) -> None:
    clips = random_clips()
    labels = labels_for(clips)
    crafted = craft(tiny_net, clips, labels, parse_attack({"kind": "multav-linf"}))
    tiny_net.eval()
    for step, adversarial in ((0, clips), (5, crafted.clips)):
        expected = functional.cross_entropy(tiny_net(adversarial), labels, reduction="none")
        torch.testing.assert_close(crafted.losses[step], expected.detach())
    assert crafted.losses[5].sum() > crafted.losses[0].sum()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_formats_and_strides(kind: str, tiny_net: nn.Module) -> None:
    clips = random_clips(shape=(4, 10, 12))
    labels = labels_for(clips)
    attack = small(kind)
    expected = craft(tiny_net, clips, labels, attack).clips
    last = clips.to(memory_format=torch.channels_last_3d)
    strided = torch.stack([clips, clips], dim=-1)[..., 0]
    assert not strided.is_contiguous()
    for same in (last, strided):
        crafted = craft(tiny_net, same, labels, attack)
        assert_within(attack, clips, crafted.mask, crafted.clips)
        assert_in_range(crafted.clips)
        assert crafted.clips[~crafted.mask.expand_as(clips)].equal(clips[~crafted.mask.expand_as(clips)])
        # A convolution adds in another order, which may turn the sign of a tiny gradient.
        assert ((crafted.clips - expected).abs() > 1e-5).float().mean() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_samples_changes_nothing(kind: str, tiny_net: nn.Module) -> None:
    clips, order = random_clips(batch=4), [2, 0, 3, 1]
    labels, net = labels_for(clips), tiny_net.double()
    # Places belong to a clip's number: here they are the same for all.
    same = {"roa": {"placement": "fixed"}, "spa": {"pixels": 99}}
    attack = small(kind, **same.get(kind.removeprefix("multav-"), {}))
    straight = craft(net, clips.double(), labels, attack)
    shuffled = craft(net, clips.double()[order], labels[order], attack)
    torch.testing.assert_close(shuffled.clips, straight.clips[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(shuffled.losses, straight.losses[:, order])


def test_the_batch_size_does_not_scale_the_gradient() -> None:
    # A mean over the batch would let this tiny gradient underflow to zero in the large batch only.
    many = torch.full((4096, 3, 1, 1, 1), 0.5)
    net, attack = Linear(torch.full((3, 1, 1, 1), 1e-40)), parse_attack({"kind": "multav-linf"})
    crafted = craft(net, many, torch.zeros(len(many), dtype=torch.int64), attack)
    assert (crafted.clips > many).all()


def test_what_is_no_tensor_and_no_model_is_said_to_be(tiny_net: nn.Module) -> None:
    clips, labels, attack = torch.rand(1, 3, 2, 8, 8), torch.tensor([0]), parse_attack({"kind": "pgd-linf"})
    with pytest.raises(TypeError, match="labels is a list; expected a Tensor"):
        craft(tiny_net, clips, [0], attack)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="clips is a ndarray"):
        craft(tiny_net, clips.numpy(), labels, attack)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model is a NoneType"):
        craft(None, clips, labels, attack)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'float16' is not one of auto, float32, bfloat16"):
        craft(tiny_net, clips, labels, attack, precision="float16")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_in_another_precision_is_attacked_in_its_own(kind: str, tiny_net: nn.Module) -> None:
    clips, attack = random_clips(), small(kind)
    labels = labels_for(clips)
    reference = craft(tiny_net, clips, labels, attack)
    for dtype, share in ((torch.float64, 0.01), (torch.bfloat16, 0.2)):
        crafted = craft(tiny_net.to(dtype), clips, labels, attack)
        assert crafted.clips.dtype == torch.float32
        assert crafted.logits.dtype == dtype
        assert_within(attack, clips, crafted.mask, crafted.clips)
        assert_in_range(crafted.clips)
        if not adaptive(kind):
            # Other gradients: APGD judges by losses too, and may return to another point.
            assert ((crafted.clips - reference.clips).abs() > 1e-2).float().mean() < share
        assert crafted.losses[-1].sum() > crafted.losses[0].sum()
    wide = craft(tiny_net.float(), clips.double(), labels, attack)
    assert wide.clips.dtype == torch.float64
    assert_within(attack, clips.double(), wide.mask, wide.clips)


@pytest.mark.parametrize("kind", KINDS)
def test_one_clip_of_one_frame(kind: str, tiny_net: nn.Module) -> None:
    clips = random_clips(batch=1, shape=(1, 7, 6))
    crafted = craft(tiny_net, clips, labels_for(clips), small(kind))
    assert crafted.clips.shape == clips.shape
    assert_within(small(kind), clips, crafted.mask, crafted.clips)
    assert not crafted.clips.equal(clips)


class Counting(nn.Module):
    """Counts the clips that the net is shown with a gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.clips = net, 0

    def forward(self, clips: Tensor) -> Tensor:
        self.clips += len(clips) * clips.requires_grad
        logits: Tensor = self.net(clips)
        return logits


@pytest.mark.parametrize(
    "kind", [kind for kind, spec in ATTACKS.items() if issubclass(spec, FixedStepAttack)]
)
def test_early_stop_fools_as_many_for_fewer_gradients(kind: str, tiny_net: nn.Module) -> None:
    clips, net = random_clips(batch=12), tiny_net.double()
    labels = net.eval()(clips.double()).argmax(1)
    # Some are wrong from the start.
    labels[:3] = (labels[:3] + 1) % 4
    full, early = Counting(net), Counting(net)
    expected = craft(full, clips.double(), labels, small(kind))
    crafted = craft(early, clips.double(), labels, small(kind, early_stop=True))
    fooled = expected.logits.argmax(1) != labels
    # A clip that was fooled on the way may be won back by the last step.
    assert (crafted.logits.argmax(1) != labels)[fooled].all()
    assert crafted.logits.argmax(1).equal(net(crafted.clips).argmax(1))
    assert crafted.clips[:3].equal(clips[:3].double())
    assert full.clips == 12 * 5
    assert early.clips <= 12 + 9 * 4
    stays = crafted.logits.argmax(1) == labels
    torch.testing.assert_close(crafted.clips[stays], expected.clips[stays], rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_it_works_where_gradients_are_switched_off(mode: Any, tiny_net: nn.Module) -> None:
    clips, attack = random_clips(), parse_attack({"kind": "multav-linf", "random_start": True})
    expected = craft(tiny_net, clips, labels_for(clips), attack).clips
    with mode():
        crafted = craft(tiny_net, clips.clone(), labels_for(clips).clone(), attack)
    assert crafted.clips.equal(expected)


def test_results_can_be_trained_on(tiny_net: nn.Module) -> None:
    # Adversarial training: the crafted clips and logits enter the caller's graph as plain values.
    clips = random_clips().requires_grad_()
    crafted = craft(tiny_net, clips, labels_for(clips), parse_attack({"kind": "multav-linf"}))
    assert not any(each.requires_grad for each in (crafted.clips, crafted.logits, crafted.losses))
    loss = functional.cross_entropy(tiny_net.train()(crafted.clips), labels_for(clips))
    assert any(slope.any() for slope in torch.autograd.grad(loss, list(tiny_net.parameters())))
    weights = torch.ones(4, requires_grad=True)
    assert torch.autograd.grad((weights * crafted.logits).sum(), weights)[0].equal(crafted.logits.sum(0))
    assert clips.grad is None


@pytest.mark.parametrize(
    ("clips", "labels", "message"),
    [
        (torch.rand(2, 3, 4, 5), torch.zeros(2, dtype=torch.int64), "expected \\(B, 3, T, H, W\\)"),
        (torch.rand(2, 1, 4, 5, 5), torch.zeros(2, dtype=torch.int64), "expected \\(B, 3, T, H, W\\)"),
        (torch.rand(2, 3, 4, 5, 5) * 255, torch.zeros(2, dtype=torch.int64), "within \\[0, 1\\]"),
        (torch.full((2, 3, 4, 5, 5), float("nan")), torch.zeros(2, dtype=torch.int64), "within \\[0, 1\\]"),
        (torch.zeros(2, 3, 4, 5, 5, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "divide 8-bit"),
        (torch.rand(2, 3, 4, 5, 5), torch.zeros(3, dtype=torch.int64), "expected \\(2,\\) int64"),
        (torch.rand(2, 3, 4, 5, 5), torch.zeros(2), "expected \\(2,\\) int64"),
        (torch.rand(2, 3, 4, 5, 5), torch.tensor([0, -1]), "label -1 is negative"),
        (torch.rand(2, 3, 4, 5, 5), torch.tensor([0, 4]), "label 4 is out of range: the model has 4 classes"),
        (torch.rand(2, 3, 4, 5, 5), torch.zeros(2, dtype=torch.int64, device="meta"), "labels are on meta"),
        (torch.full((2, 3, 4, 5, 5), -1e-6), torch.zeros(2, dtype=torch.int64), "within \\[0, 1\\]"),
        (torch.full((2, 3, 4, 5, 5), float("inf")), torch.zeros(2, dtype=torch.int64), "within \\[0, 1\\]"),
        (torch.rand(2, 3, 4, 5, 5).half(), torch.zeros(2, dtype=torch.int64), "expected float32"),
        (torch.rand(0, 3, 4, 5, 5), torch.zeros(0, dtype=torch.int64), "empty"),
    ],
)
def test_what_cannot_be_attacked_is_refused(
    clips: Tensor, labels: Tensor, message: str, tiny_net: nn.Module
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        craft(tiny_net, clips, labels, parse_attack({"kind": "multav-linf"}))


def test_a_model_elsewhere_or_with_other_answers_is_refused(tiny_net: nn.Module) -> None:
    clips, attack = random_clips(), parse_attack({"kind": "multav-linf"})
    labels = labels_for(clips)
    with pytest.raises(ValueError, match="the model is on meta, clips on cpu"):
        craft(nn.Linear(3, 4, device="meta"), clips, labels, attack)
    with pytest.raises(ValueError, match=r"expected \(3, classes\)"):
        craft(nn.Conv3d(3, 4, 3), clips, labels, attack)
    with pytest.raises(TypeError, match="parse_attack"):
        craft(tiny_net, clips, labels, {"kind": "multav-linf"})  # type: ignore[arg-type]
    assert tiny_net.training


@pytest.mark.parametrize("kind", ["multav-linf", "pgd-l2", "roa", "apgd-ratio"])
def test_without_a_look_at_the_end_the_clips_are_the_same(kind: str, tiny_net: nn.Module) -> None:
    clips, net = random_clips(), tiny_net.double()
    labels, attack = labels_for(clips), small(kind)
    seen, blind = (craft(net, clips.double(), labels, attack, look_at_end=look) for look in (True, False))
    assert torch.equal(seen.clips, blind.clips)
    assert seen.losses.shape == blind.losses.shape
    if kind != "apgd-ratio":
        assert torch.equal(blind.losses[-1], blind.losses[-2])
        assert not torch.equal(seen.losses[-1], seen.losses[-2])
