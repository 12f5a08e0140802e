"""Parameters and multiply-adds: the published tables, and the ways in which counting could go wrong."""

from typing import Any

import pytest
import torch
from torch import nn

from models.architectures import ARCHITECTURES
from models.attention import Attention
from models.counts import Counts, counts

CLASSES = 101


def built(name: str, classes: int = CLASSES, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        return ARCHITECTURES[name](classes, **arguments)


def giga(network: nn.Module, frames: int) -> float:
    return round(counts(network, (1, 3, frames, 112, 112)).multiply_adds / 1e9, 2)


@pytest.mark.parametrize(
    ("depth", "shortcut", "parameters", "at_16", "at_40"),
    [
        (18, "A", 33_081_893, 8.30, 20.94),
        (18, "B", 33_255_717, 8.31, 20.97),
        (34, "A", 63_391_525, 12.68, 32.02),
        (34, "B", 63_565_349, 12.70, 32.05),
        (50, "B", 46_405_925, 10.07, 25.40),
        (101, "B", 85_452_069, 13.89, 34.95),
        (152, "B", 117_610_789, 18.61, 46.75),
        (200, "B", 126_810_405, 25.80, 64.74),
    ],
)
def test_haras_resnets(depth: int, shortcut: str, parameters: int, at_16: float, at_40: float) -> None:
    network = built("resnet3d", depth=depth, shortcut=shortcut)
    assert counts(network, (1, 3, 1, 32, 32)).parameters == parameters
    assert (giga(network, 16), giga(network, 40)) == (at_16, at_40)


@pytest.mark.parametrize(
    ("name", "parameters", "at_16"),
    [("r3d_18", 33_371_472, 40.697), ("mc3_18", 11_695_440, 43.343), ("r2plus1d_18", 31_505_325, 40.519)],
)
def test_torchvisions_own_figures(name: str, parameters: int, at_16: float) -> None:
    """What its documentation says of its weights, for 400 classes and 16 frames."""
    found = counts(built(name, 400), (1, 3, 16, 112, 112))
    assert found.parameters == parameters
    assert round(found.multiply_adds / 1e9, 3) == at_16


def test_torchvisions_r3d_18_with_101_classes() -> None:
    network = built("r3d_18")
    assert counts(network, (1, 3, 16, 112, 112)).parameters == 33_218_085
    assert (giga(network, 16), giga(network, 40)) == (40.70, 101.74)


@pytest.mark.parametrize(
    ("classes", "a", "b"),
    [(400, 33_235_280, 33_409_104), (700, 33_389_180, 33_563_004), (1039, 33_563_087, 33_736_911)],
)
def test_more_classes(classes: int, a: int, b: int) -> None:
    found = [
        sum(parameter.numel() for parameter in built("resnet3d", classes, shortcut=shortcut).parameters())
        for shortcut in "AB"
    ]
    assert found == [a, b]


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"denoise": "frame_shared"}, 33_778_213),
        ({"denoise": "frame_shared", "denoise_options": {"norm": "unused"}}, 33_778_213 + 1_920),
        ({"denoise": "frame_separate"}, 34_789_925),
        ({"denoise": "frame_separate", "denoise_options": {"pairs": "all"}}, 40_393_253),
        ({"denoise": "official"}, 33_780_133),
        ({"denoise": "space_time"}, 33_780_133),
    ],
    ids=str,
)
def test_denoising(arguments: dict[str, Any], parameters: int) -> None:
    assert counts(built("resnet3d", shortcut="A", **arguments), (1, 3, 40, 112, 112)).parameters == parameters


def test_attention_is_counted_for_itself() -> None:
    plain, per_frame, whole = (
        counts(built("resnet3d", shortcut="A", **arguments), (1, 3, 40, 112, 112))
        for arguments in ({}, {"denoise": "official"}, {"denoise": "space_time"})
    )
    assert plain.attention_multiply_adds == 0
    assert per_frame.multiply_adds == whole.multiply_adds > plain.multiply_adds
    # (C, T, H * W) behind the four stages; queries . keys of C / 2, then values of C
    stages = [(64, 20, 784), (128, 10, 196), (256, 5, 49), (512, 3, 16)]
    assert per_frame.attention_multiply_adds == sum(1.5 * c * t * n**2 for c, t, n in stages)
    assert whole.attention_multiply_adds == sum(1.5 * c * (t * n) ** 2 for c, t, n in stages)
    first = Attention("softmax").multiply_adds((1, 1, 15_680, 32), (1, 1, 15_680, 64))
    assert round(first / 1e9, 1) == 23.6


def test_the_network_is_left_as_it_was_and_no_memory_is_taken() -> None:
    network = ARCHITECTURES["resnet3d"](3, depth=10, widen_factor=0.1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    # A clip of 4 TB, if it had values.
    found = counts(network, (1000, 3, 1000, 600, 600))
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(not module._forward_hooks for module in network.modules())
    assert found.multiply_adds > 10**12
    clip = torch.rand(1, 3, 4, 16, 16)
    assert network.eval()(clip).shape == (1, 3)


def test_a_sum_done_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv3d(4, 6, 3, padding=1, groups=2), nn.Flatten(), nn.Linear(6 * 2 * 5 * 5, 3, bias=False)
    )
    expected = 6 * 50 * (4 // 2) * 27 + 3 * 300
    assert counts(network, (1, 4, 2, 5, 5)) == Counts(6 * 2 * 27 + 6 + 900, expected, 0)
    assert counts(network, (3, 4, 2, 5, 5)).multiply_adds == 3 * expected


def test_the_exact_faster_forms_count_as_what_they_stand_for() -> None:
    for name in ("resnet3d", "r2plus1d", "r2plus1d_18"):
        fast, plain = built(name), built(name, plain=True)
        assert counts(fast, (1, 3, 16, 64, 64)) == counts(plain, (1, 3, 16, 64, 64))
