"""Logits and gradients of every architecture against independent plain functions of the same state dict."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models.architectures import ARCHITECTURES
from tests.models.functional_networks import hara, hara_r2plus1d, preact, randomised, torchvision

torch.set_num_threads(1)

Reference = Callable[..., Tensor]
A, B = {"shortcut": "A"}, {"shortcut": "B"}
FULL: list[tuple[str, dict[str, Any], Reference, dict[str, Any]]] = [
    ("resnet3d", {"depth": 18, **A}, hara, A),
    ("resnet3d", {"depth": 18, **B}, hara, B),
    ("resnet3d", {"depth": 50, **B}, hara, B),
    ("wide-resnet3d", {}, hara, B),
    ("resnext3d", {"depth": 50}, hara, B),
    ("preact-resnet3d", {"depth": 18}, preact, B),
    ("r2plus1d", {"depth": 18}, hara_r2plus1d, B),
    ("r3d_18", {}, torchvision, {}),
    ("mc3_18", {}, torchvision, {}),
    ("r2plus1d_18", {}, torchvision, {}),
]
SMALL: list[tuple[str, dict[str, Any], Reference, dict[str, Any]]] = [
    ("resnet3d", {"depth": 10, "widen_factor": 0.1, **A}, hara, A),
    ("resnet3d", {"depth": 34, "widen_factor": 0.1, **A}, hara, A),
    (
        "resnet3d",
        {"depth": 10, "widen_factor": 0.1, **A, "cut_shortcut_gradient": True},
        hara,
        {**A, "cut": True},
    ),
    ("resnet3d", {"depth": 50, "widen_factor": 0.1, **A}, hara, A),
    ("resnet3d", {"depth": 101, "widen_factor": 0.05, **B}, hara, B),
    (
        "resnet3d",
        {"depth": 10, "widen_factor": 0.1, "conv1_t_size": 3, "conv1_t_stride": 2, "no_max_pool": True},
        hara,
        {**B, "time_stride": 2, "pool": False},
    ),
    ("wide-resnet3d", {"k": 1, "wide_stem": True, **A}, hara, A),
    ("resnext3d", {"depth": 50, "cardinality": 4, "wide_stem": True, **A}, hara, A),
    ("preact-resnet3d", {"depth": 18, "widen_factor": 0.1, **A}, preact, A),
    (
        "preact-resnet3d",
        {"depth": 50, "widen_factor": 0.1, **A, "cut_shortcut_gradient": True},
        preact,
        {**A, "cut": True},
    ),
    ("r2plus1d", {"depth": 18, "widen_factor": 0.1, **A}, hara_r2plus1d, A),
    (
        "r2plus1d",
        {"depth": 50, "widen_factor": 0.1, "conv1_t_size": 5, "conv1_t_stride": 2, "no_max_pool": True},
        hara_r2plus1d,
        {**B, "time_stride": 2, "pool": False},
    ),
    ("r3d_18", {}, torchvision, {}),
    ("mc3_18", {}, torchvision, {}),
    ("r2plus1d_18", {}, torchvision, {}),
]


def named(case: object) -> str | None:
    return case.__name__ if callable(case) else str(case)


def close(ours: Tensor, reference: Tensor, tolerance: float) -> None:
    """Within `tolerance` of the reference's largest value."""
    assert ours.shape == reference.shape
    largest = reference.abs().max()
    assert largest > 0
    assert (ours - reference).abs().max() <= tolerance * largest


@pytest.mark.parametrize(
    ("name", "arguments", "reference", "settings"),
    # The others only in `make test-all`: they take a minute together.
    [FULL[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in FULL[1:])],
    ids=named,
)
def test_full_size_in_float32(
    name: str, arguments: dict[str, Any], reference: Reference, settings: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    network = randomised(ARCHITECTURES[name](101, **arguments))
    for frames in (16, 40):
        clips = torch.rand(1, 3, frames, 32, 32)
        with torch.no_grad():
            ours = network(clips)
            theirs = reference(network.state_dict(), clips, **settings)
        close(ours, theirs, 1e-5)


@pytest.mark.parametrize(("name", "arguments", "reference", "settings"), SMALL, ids=named)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
def test_logits_and_gradients(
    name: str,
    arguments: dict[str, Any],
    reference: Reference,
    settings: dict[str, Any],
    dtype: torch.dtype,
) -> None:
    torch.manual_seed(0)
    network = randomised(ARCHITECTURES[name](7, **arguments)).to(dtype).requires_grad_(False)
    clips = torch.rand(2 if dtype == torch.float64 else 1, 3, 5, 22, 20, dtype=dtype)
    weights = torch.randn(7, dtype=dtype)
    x, y = clips.clone().requires_grad_(), clips.clone().requires_grad_()
    ours, theirs = network(x), reference(network.state_dict(), y, **settings)
    by_x = torch.autograd.grad((ours * weights).sum(), x)[0]
    by_y = torch.autograd.grad((theirs * weights).sum(), y)[0]
    # In single precision a pool or a ReLU may choose the other of two nearly equal values.
    close(ours.detach(), theirs.detach(), 1e-11 if dtype == torch.float64 else 1e-5)
    close(by_x, by_y, 1e-10 if dtype == torch.float64 else 1e-3)


SMALLEST: dict[str, dict[str, Any]] = {
    "resnet3d": {"depth": 10, "widen_factor": 0.1},
    "wide-resnet3d": {"k": 1},
    "resnext3d": {"depth": 50},
    "preact-resnet3d": {"depth": 10, "widen_factor": 0.1},
    "r2plus1d": {"depth": 10, "widen_factor": 0.1},
    "r3d_18": {},
    "mc3_18": {},
    "r2plus1d_18": {},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_fast_form_equals_the_plain_one_in_training(name: str) -> None:
    torch.manual_seed(0)
    fast = ARCHITECTURES[name](3, **SMALLEST[name])
    plain = ARCHITECTURES[name](3, plain=True, **SMALLEST[name])
    plain.load_state_dict(fast.state_dict())
    # Batch norm of a few nearly equal values makes any rounding large, layer after layer.
    clips = torch.rand(4, 3, 8, 16, 16).double()
    with torch.no_grad():
        close(fast.double()(clips), plain.double()(clips), 1e-8)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_clip_does_not_feel_its_neighbours(name: str) -> None:
    torch.manual_seed(0)
    network = randomised(ARCHITECTURES[name](5, **SMALLEST[name]))
    clips = torch.rand(3, 3, 6, 20, 20)
    with torch.no_grad():
        together = network(clips)
        for index in range(3):
            close(network(clips[index : index + 1])[0], together[index], 1e-5)
