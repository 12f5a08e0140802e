"""Multiply-adds that are counted without torch are those of the network itself."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from models.architecture_macs import multiply_adds
from models.architecture_names import ARCHITECTURE_NAMES
from models.architectures import ARCHITECTURES
from models.counts import counts
from multav.geometry import InputGeometry

torch.set_num_threads(1)
STEM: tuple[dict[str, Any], ...] = (
    {"conv1_t_size": 3, "conv1_t_stride": 2},
    {"no_max_pool": True},
    {"shortcut": "A", "plain": True},
)
DENOISED: tuple[dict[str, Any], ...] = (
    {"denoise": "official"},
    {"denoise": "space_time"},
    {"denoise": "space_time", "denoise_options": {"affinity": "dot_product"}},
    {"denoise": "frame_shared", "denoise_options": {"embed": False}},
    {"denoise": "frame_separate", "denoise_options": {"frames": 13, "pairs": "all"}},
)
OWN: dict[str, tuple[dict[str, Any], ...]] = {
    "resnet3d": ({"depth": 10, "widen_factor": 0.125}, {"depth": 34}, {"depth": 50}, *STEM),
    "wide-resnet3d": ({"k": 1}, {"k": 3, "wide_stem": True}, {"depth": 101}, *STEM),
    "resnext3d": ({"cardinality": 8}, {"depth": 50, "wide_stem": True}, *STEM),
    "preact-resnet3d": ({"depth": 10, "widen_factor": 0.3}, {"depth": 50}, *STEM),
    "r2plus1d": ({"depth": 10, "widen_factor": 0.125}, {"depth": 50}, *STEM),
}


@pytest.mark.parametrize(
    ("name", "arguments", "frames", "height", "width"),
    [
        *((name, {}, 8, 56, 56) for name in ARCHITECTURE_NAMES),
        # Sizes that no stride divides.
        *(
            (name, each, 13, 45, 61)
            for name in ARCHITECTURE_NAMES
            for each in ({}, *OWN.get(name, ()), *DENOISED)
        ),
    ],
    ids=str,
)
def test_they_are_those_of_the_network(
    name: str, arguments: dict[str, Any], frames: int, height: int, width: int
) -> None:
    with torch.device("meta"):
        network = ARCHITECTURES[name](7, **arguments)
    found = counts(network, (1, 3, frames, height, width))
    geometry = InputGeometry(frames=frames, stride=1, short_side=61, height=height, width=width)
    said = multiply_adds(name, arguments, classes=7, geometry=geometry)
    assert said == found.multiply_adds + found.attention_multiply_adds


def test_they_are_counted_without_torch() -> None:
    code = "import sys, models.architecture_macs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
