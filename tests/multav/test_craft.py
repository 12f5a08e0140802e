"""Attacks against the equations, and the laws that every attack keeps."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from multav import craft, parse_attack
from multav.attacks.catalogue import ATTACKS
from multav.attacks.spec import AttackSpec

torch.set_num_threads(1)
KINDS = list(ATTACKS)
relaxed = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def random_clips(seed: int = 0, batch: int = 3, shape: tuple[int, int, int] = (4, 9, 11)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    clips = torch.rand(batch, 3, *shape, generator=generator)
    # Black, white and nearly black values are where bounds break.
    clips[:, :, :, 0, 0], clips[:, :, :, 1, 1], clips[:, :, :, 2, 2] = 0.0, 1.0, 1e-6
    return clips


def labels_for(clips: Tensor) -> Tensor:
    return torch.arange(len(clips)) % 4


def equation(kind: str, net: nn.Module, clips: Tensor, labels: Tensor, spec: AttackSpec) -> np.ndarray:
    """Equations 1 and 3 written down once more, in float64 numpy, one sample after the other."""
    net = net.double().eval()
    results = []
    for clean, label in zip(clips.double(), labels, strict=True):
        x0 = clean.numpy()
        x = x0.copy()
        for _ in range(spec.steps):
            leaf = torch.tensor(x[None], requires_grad=True)
            (slope,) = torch.autograd.grad(functional.cross_entropy(net(leaf), label[None]), leaf)
            sign = np.sign(slope[0].numpy()) * (-1 if spec.targeted else 1)
            if kind == "multav-linf":
                x = x * np.power(spec.step_size, sign)
                x = np.minimum(np.maximum(x, x0 / spec.epsilon), x0 * spec.epsilon)
            else:
                x = x + spec.step_size * sign
                x = np.minimum(np.maximum(x, x0 - spec.epsilon), x0 + spec.epsilon)
            x = np.clip(x, 0, 1)
        results.append(x)
    net.float()
    return np.stack(results)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("steps", [1, 5, 8])
def test_the_equation_in_float64(kind: str, targeted: bool, steps: int, tiny_net: nn.Module) -> None:
    clips, attack = random_clips(), parse_attack({"kind": kind, "targeted": targeted, "steps": steps})
    labels = labels_for(clips)
    expected = equation(kind, tiny_net, clips, labels, attack)
    tiny_net.double()
    crafted = craft(tiny_net, clips.double(), labels, attack)
    np.testing.assert_allclose(crafted.clips.numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        crafted.logits.numpy(), tiny_net(torch.tensor(expected)).detach().numpy(), atol=1e-9
    )
    tiny_net.float()
    single = craft(tiny_net, clips, labels, attack).clips.double().numpy()
    # In float32 the sign of a tiny gradient may differ; almost everywhere both agree.
    assert np.mean(np.abs(single - expected) > 1e-5) < 0.01


def holds(kind: str, adversarial: Tensor, clean: Tensor, epsilon: float) -> bool:
    """The bound in float64 with room for one float32 rounding."""
    x, x0 = adversarial.double(), clean.double()
    if kind.startswith("multav"):
        inside = (x <= x0 * epsilon * (1 + 2e-7)) & (x * epsilon * (1 + 2e-7) >= x0)
    else:
        inside = (x - x0).abs() <= epsilon + 1e-7
    return bool((inside & (x >= 0) & (x <= 1)).all())


@relaxed
@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_laws_of_every_attack(data: st.DataObject, kind: str, tiny_net: nn.Module) -> None:
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 12)), "T, H, W")
    batch, seed = data.draw(st.integers(1, 4), "batch"), data.draw(st.integers(0, 2**40), "seed")
    body: dict[str, Any] = {
        "kind": kind,
        "steps": data.draw(st.integers(1, 4), "steps"),
        "random_start": data.draw(st.booleans(), "random_start"),
        "targeted": data.draw(st.booleans(), "targeted"),
    }
    if kind.startswith("multav"):
        body |= {"epsilon": data.draw(st.floats(1.001, 4)), "step_size": data.draw(st.floats(1.001, 4))}
    else:
        body |= {"epsilon": data.draw(st.floats(1e-3, 1)), "step_size": data.draw(st.floats(1e-3, 1))}
    attack = parse_attack(body)
    clips = torch.rand(batch, 3, *shape, generator=torch.Generator().manual_seed(seed % 1000))
    clips[clips < 0.1] = 0
    before = clips.clone()
    labels = labels_for(clips)
    crafted = craft(tiny_net, clips, labels, attack, seed=seed)

    assert clips.equal(before)
    assert crafted.clips.dtype == torch.float32
    assert crafted.clips.shape == clips.shape
    assert holds(kind, crafted.clips, clips, attack.epsilon)
    if kind.startswith("multav"):
        assert (crafted.clips[clips == 0] == 0).all()
    assert crafted.losses.shape == (attack.steps + 1, batch)
    assert crafted.mask.shape == (batch, 1, *shape)
    assert crafted.mask.dtype == torch.bool
    assert crafted.mask.all()
    again = craft(tiny_net, clips, labels, attack, seed=seed)
    assert again.clips.equal(crafted.clips)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("random_start", [False, True])
def test_splitting_the_batch_changes_nothing(kind: str, random_start: bool, tiny_net: nn.Module) -> None:
    clips = random_clips(batch=5)
    labels = labels_for(clips)
    attack = parse_attack({"kind": kind, "random_start": random_start})
    net = tiny_net.double()
    whole = craft(net, clips.double(), labels, attack, seed=3, first_sample=10).clips
    for index in range(5):
        one = slice(index, index + 1)
        alone = craft(net, clips[one].double(), labels[one], attack, seed=3, first_sample=10 + index).clips
        torch.testing.assert_close(alone, whole[one], rtol=0, atol=1e-12)
    other = craft(net, clips.double(), labels, attack, seed=4, first_sample=10).clips
    assert other.equal(whole) != random_start


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_left_as_it_was_found(kind: str, tiny_net: nn.Module) -> None:
    tiny_net.train()
    tiny_net.dropout.eval()
    tiny_net.head.weight.requires_grad_(False)
    tiny_net.conv.weight.grad = torch.ones_like(tiny_net.conv.weight)
    state = {name: tensor.clone() for name, tensor in tiny_net.state_dict().items()}
    modes = [module.training for module in tiny_net.modules()]
    flags = [parameter.requires_grad for parameter in tiny_net.parameters()]
    rng = torch.get_rng_state()
    clips = random_clips()
    craft(tiny_net, clips, labels_for(clips), parse_attack({"kind": kind, "random_start": True}))
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
            return torch.stack([clips[:, :, 0].sum((1, 2, 3)), clips[:, :, 0].square().sum((1, 2, 3))], dim=1)

    clips = random_clips()
    crafted = craft(Blind(), clips, torch.zeros(3, dtype=torch.int64), parse_attack({"kind": kind}))
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
    attack = parse_attack({"kind": kind, "targeted": targeted, "steps": 6})
    crafted = craft(Linear(direction), clips, labels, attack)
    moved = (crafted.clips - clips).sign()
    assert moved.equal(direction.sign().expand_as(moved))
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
    attack = parse_attack({"kind": kind})
    expected = craft(tiny_net, clips, labels, attack).clips
    last = clips.to(memory_format=torch.channels_last_3d)
    strided = torch.stack([clips, clips], dim=-1)[..., 0]
    assert not strided.is_contiguous()
    for same in (last, strided):
        crafted = craft(tiny_net, same, labels, attack).clips
        assert (crafted != expected).float().mean() < 0.01
        assert holds(kind, crafted, clips, attack.epsilon)


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
        (torch.rand(2, 3, 4, 5, 5), torch.tensor([0, -1]), "negative"),
        (torch.rand(0, 3, 4, 5, 5), torch.zeros(0, dtype=torch.int64), "empty"),
    ],
)
def test_what_cannot_be_attacked_is_refused(
    clips: Tensor, labels: Tensor, message: str, tiny_net: nn.Module
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        craft(tiny_net, clips, labels, parse_attack({"kind": "multav-linf"}))
