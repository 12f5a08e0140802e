"""A step of the weights against one that is written by hand in float64: crafting, loss, cut, optimiser, schedule."""

import hashlib
from collections.abc import Callable
from math import cos, floor, pi, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from multav.training.trainer import Trainer
from tests.multav.training.small_trainings import Small, asked, clips_of

Weights = list[Tensor]
RATE = 0.07


def log_softmax(logits: Tensor) -> Tensor:
    shifted = logits - logits.max(1, keepdim=True).values
    return shifted - shifted.exp().sum(1, keepdim=True).log()


def entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each clip, of whose label a share is spread over all classes."""
    logs = log_softmax(logits)
    right = logs[torch.arange(len(labels)), labels]
    return -(1 - smoothing) * right - smoothing * logs.mean(1)


def attacked(net: Small, clips: Tensor, labels: Tensor, epsilon: float, size: float, steps: int) -> Tensor:
    """Equation 3 from the clean clip, in eval mode."""
    net.eval()
    point = clips.clone()
    for _ in range(steps):
        point.requires_grad_()
        (gradient,) = torch.autograd.grad(entropy(net(point), labels).sum(), point)
        moved = point.detach() * size ** gradient.sign()
        point = torch.maximum(torch.minimum(moved, clips * epsilon), clips / epsilon).clamp(0, 1)
    net.train()
    return point


def draws(step: int, shape: tuple[int, ...], seed: int = 1) -> Tensor:
    """What the clips of a step draw, each from its own number."""
    found = []
    for place in range(shape[0]):
        digest = hashlib.sha256(f"multav:{seed}:{step * 2**13 + place}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
        found.append(torch.empty(shape[1:]).uniform_(-1, 1, generator=generator))
    return torch.stack(found).double()


def led_away(net: Small, clips: Tensor, noise: Tensor, epsilon: float, size: float, steps: int) -> Tensor:
    """Steps up the Kullback-Leibler divergence of the answers from the clean ones, from a random start."""
    net.eval()
    with torch.no_grad():
        said = log_softmax(net(clips))
    point = (clips * epsilon**noise).clamp(0, 1)
    for _ in range(steps):
        point.requires_grad_()
        apart = (said.exp() * (said - log_softmax(net(point)))).sum()
        (gradient,) = torch.autograd.grad(apart, point)
        moved = point.detach() * size ** gradient.sign()
        point = torch.maximum(torch.minimum(moved, clips * epsilon), clips / epsilon).clamp(0, 1)
    net.train()
    return point


def run_by_hand(
    net: Small,
    batches: list[tuple[Tensor, Tensor]],
    fields: dict[str, Any],
    update: Callable[[int, Weights, Weights], None],
) -> list[tuple[float, float]]:
    """The steps of a training in float64; the loss and the length of the gradient of each."""
    weights: Weights = list(net.parameters())
    found: list[tuple[float, float]] = []
    for number, (clips, labels) in enumerate(batches):
        clips = clips.double()
        share = fields.get("clean_fraction", 0)
        dirty = [place for place in range(len(clips)) if floor((place + 1) * share) == floor(place * share)]
        shown = clips.clone()
        if fields.get("method") == "trades" and fields.get("crafting") != "loss":
            shown = led_away(net, clips, draws(number, tuple(clips.shape)), 1.2, 1.1, 2)
        elif fields.get("attack", True) is not None:
            shown[dirty] = attacked(net, clips[dirty], labels[dirty], 1.2, 1.1, 2)
        net.train()
        if fields.get("method") == "trades":
            after, before = log_softmax(net(shown)), log_softmax(net(clips))
            apart = (before.exp() * (before - after)).sum(1)
            loss = (
                entropy(before, labels, fields.get("label_smoothing", 0.0)) + fields["beta"] * apart
            ).mean()
        else:
            loss = entropy(net(shown), labels, fields.get("label_smoothing", 0.0)).mean()
        gradients = list(torch.autograd.grad(loss, weights))
        length = sqrt(sum(float(each.square().sum()) for each in gradients))
        cut = fields.get("gradient_norm")
        if cut is not None and length > cut:
            gradients = [each * cut / length for each in gradients]
        with torch.no_grad():
            update(number, weights, gradients)
        found.append((float(loss.detach()), length))
    return found


def sgd(
    momentum: float = 0.0,
    decay: float = 0.0,
    nesterov: bool = False,
    rate: Callable[[int], float] | None = None,
) -> Callable[[int, Weights, Weights], None]:
    memory: Weights = []

    def update(number: int, weights: Weights, gradients: Weights) -> None:
        for place, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            there = gradient + decay * weight
            if number == 0:
                memory.append(there.clone())
            else:
                memory[place] = momentum * memory[place] + there
            along = there + momentum * memory[place] if nesterov else memory[place]
            weight -= (RATE if rate is None else rate(number)) * along

    return update


def adamw(decay: float) -> Callable[[int, Weights, Weights], None]:
    means: Weights = []
    squares: Weights = []

    def update(number: int, weights: Weights, gradients: Weights) -> None:
        for place, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            if number == 0:
                means.append(torch.zeros_like(weight))
                squares.append(torch.zeros_like(weight))
            means[place] = 0.9 * means[place] + 0.1 * gradient
            squares[place] = 0.999 * squares[place] + 0.001 * gradient**2
            mean = means[place] / (1 - 0.9 ** (number + 1))
            square = squares[place] / (1 - 0.999 ** (number + 1))
            weight -= RATE * decay * weight
            weight -= RATE * mean / (square.sqrt() + 1e-8)

    return update


STEPS = 4
SGD = {"kind": "sgd", "learning_rate": RATE, "momentum": 0.0, "weight_decay": 0.0}
CASES: dict[str, tuple[dict[str, Any], Callable[[int, Weights, Weights], None]]] = {
    "adversarial loss only": ({}, sgd()),
    "clean loss": ({"attack": None}, sgd()),
    "label smoothing": ({"label_smoothing": 0.2}, sgd()),
    "clean fraction": ({"clean_fraction": 0.5}, sgd()),
    "trades": ({"method": "trades", "beta": 3.0}, sgd()),
    "trades, by the loss": ({"method": "trades", "beta": 3.0, "crafting": "loss"}, sgd()),
    "trades, smooth": ({"method": "trades", "beta": 0.5, "label_smoothing": 0.1}, sgd()),
    "cut": ({"gradient_norm": 0.05}, sgd()),
    "momentum": ({"optimiser": SGD | {"momentum": 0.9}}, sgd(momentum=0.9)),
    "weight decay": (
        {"optimiser": SGD | {"weight_decay": 0.1, "momentum": 0.5}},
        sgd(momentum=0.5, decay=0.1),
    ),
    "nesterov": (
        {"optimiser": SGD | {"momentum": 0.8, "nesterov": True}},
        sgd(momentum=0.8, nesterov=True),
    ),
    "adamw": ({"optimiser": {"kind": "adamw", "learning_rate": RATE, "weight_decay": 0.2}}, adamw(0.2)),
    "milestones": (
        {"schedule": {"kind": "multistep", "milestones": [1], "gamma": 0.3}},
        sgd(rate=lambda step: RATE * (0.3 if step >= 2 else 1)),
    ),
    "cosine": (
        {"schedule": {"kind": "cosine", "warm_up": 0.5, "floor": 0.1}},
        sgd(
            rate=lambda step: (
                RATE * ([1 / 3, 2 / 3][step] if step < 2 else 0.1 + 0.9 * (1 + cos(pi * (step - 2) / 2)) / 2)
            )
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_written_by_hand(name: str) -> None:
    fields, update = CASES[name]
    net, own = Small(), Small().double()
    request = asked(**{"optimiser": SGD} | fields)
    training = Trainer(net, request, steps=STEPS, steps_per_epoch=2)
    batches = [clips_of(4, seed) for seed in range(STEPS)]
    stepped = [step for clips, labels in batches for step in training.train_on(clips, labels)]
    expected = run_by_hand(own, batches, fields, update)
    for weight, wanted in zip(net.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(weight.double(), wanted, rtol=1e-4, atol=2e-5)
    for step, (loss, length) in zip(stepped, expected, strict=True):
        assert step.loss == pytest.approx(loss, rel=1e-4)
        assert step.gradient_norm == pytest.approx(length, rel=1e-3)
    moved = [
        float((weight - start).detach().norm())
        for weight, start in zip(net.parameters(), Small().parameters(), strict=True)
    ]
    assert min(moved) > 1e-3 or name == "cut"


def test_cases_differ() -> None:
    """So that none of the fields can be without effect above."""
    ends = []
    for fields, _ in CASES.values():
        net = Small()
        training = Trainer(net, asked(**{"optimiser": SGD} | fields), steps=STEPS, steps_per_epoch=2)
        for seed in range(STEPS):
            training.train_on(*clips_of(4, seed))
        ends.append(net.head.weight.detach().clone())
    for place, end in enumerate(ends):
        for other in ends[:place]:
            assert float((end - other).abs().max()) > 1e-4


@pytest.mark.parametrize("pieces", [2, 3])
@pytest.mark.parametrize("method", ["madry", "trades"])
def test_pieces_add_up_to_the_batch(pieces: int, method: str) -> None:
    """Without batch norm a batch in pieces is the batch, also where these are not of one size."""
    ends, steps = [], []
    for accumulation in (1, pieces):
        net = Small(norm=False)
        request = asked(batch_size=7, accumulation=accumulation, method=method, label_smoothing=0.1)
        training = Trainer(net, request, steps=3, steps_per_epoch=2)
        steps.append([step for seed in range(3) for step in training.train_on(*clips_of(7, seed))])
        ends.append([weight.detach().clone() for weight in net.parameters()])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for whole, parts in zip(*steps, strict=True):
        assert whole.loss == pytest.approx(parts.loss, rel=1e-5)
        assert whole.accuracy == parts.accuracy


def test_accuracy_is_that_of_the_clips_as_they_are_trained_on() -> None:
    net = Small()
    training = Trainer(net, asked(batch_size=8), steps=3, steps_per_epoch=2)
    own = Small().double()
    own.load_state_dict(net.state_dict())
    clips, labels = clips_of(8)
    shown = attacked(own, clips.double(), labels, 1.2, 1.1, 2)
    own.train()
    right = (own(shown).argmax(1) == labels).double().mean()
    (step,) = training.train_on(clips, labels)
    assert step.accuracy == float(right)
