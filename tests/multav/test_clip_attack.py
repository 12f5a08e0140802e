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
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

ratios = st.floats(1, 1e6, exclude_min=True)
distances = st.floats(0, 1, exclude_min=True)


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
    final = functional.cross_entropy(tiny_net(torch.tensor(expected)), labels, reduction="none")
    np.testing.assert_allclose(crafted.losses[-1].numpy(), final.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(
        crafted.logits.numpy(), tiny_net(torch.tensor(expected)).detach().numpy(), atol=1e-9
    )
    tiny_net.float()
    single = craft(tiny_net, clips, labels, attack).clips.double().numpy()
    # In float32 the sign of a tiny gradient may differ; almost everywhere both agree.
    assert np.mean(np.abs(single - expected) > 1e-5) < 0.01


def holds(kind: str, adversarial: Tensor, clean: Tensor, epsilon: float) -> bool:
    """The bound, exactly, in the clips' own arithmetic."""
    if kind.startswith("multav"):
        inside = (clean / epsilon <= adversarial) & (adversarial <= clean * epsilon)
    else:
        inside = (clean - epsilon <= adversarial) & (adversarial <= clean + epsilon)
    return bool((inside & (adversarial >= 0) & (adversarial <= 1)).all())


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
        body |= {"epsilon": data.draw(ratios, "epsilon"), "step_size": data.draw(ratios, "step_size")}
    else:
        body |= {"epsilon": data.draw(distances, "epsilon"), "step_size": data.draw(distances, "step_size")}
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


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_samples_changes_nothing(kind: str, tiny_net: nn.Module) -> None:
    clips, order = random_clips(batch=4), [2, 0, 3, 1]
    labels, net = labels_for(clips), tiny_net.double()
    attack = parse_attack({"kind": kind})
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


def test_a_model_in_another_precision_is_attacked_in_its_own(tiny_net: nn.Module) -> None:
    clips, attack = random_clips(), parse_attack({"kind": "multav-linf"})
    labels = labels_for(clips)
    reference = craft(tiny_net, clips, labels, attack)
    for dtype, share in ((torch.float64, 0.001), (torch.bfloat16, 0.2)):
        crafted = craft(tiny_net.to(dtype), clips, labels, attack)
        assert crafted.clips.dtype == torch.float32
        assert crafted.logits.dtype == dtype
        assert holds("multav-linf", crafted.clips, clips, attack.epsilon)
        assert ((crafted.clips - reference.clips).abs() > 1e-5).float().mean() < share
        assert (crafted.losses[-1] > crafted.losses[0]).all()
    wide = craft(tiny_net.float(), clips.double(), labels, attack)
    assert wide.clips.dtype == torch.float64
    assert holds("multav-linf", wide.clips, clips.double(), attack.epsilon)


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
