"""The table of arguments that is read without torch says of every builder what the builder says itself."""

import inspect
import subprocess
import sys
from typing import Any

import pytest
import torch

from models.architecture_arguments import ARGUMENTS, wrong_arguments
from models.architectures import ARCHITECTURES

# Values at the edges of what is allowed, and beyond; many are wrong for one architecture and right for another.
VALUES: dict[str, tuple[Any, ...]] = {
    "depth": (10, 18, 34, 50, 101, 11, "18", 18.0, True, None),
    "shortcut": ("A", "B", "C", "a", None, 1),
    "widen_factor": (0.125, 1, 1 / 64, 4, 4.5, 0, -1, 0.015, 10**400, "1", True, None),
    "conv1_t_size": (1, 3, 31, 4, 33, 0, 3.0, "3", None),
    "conv1_t_stride": (1, 16, 17, 0, 1.0, None),
    "no_max_pool": (True, False, 0, "no", None),
    "cut_shortcut_gradient": (True, False, 1, None),
    "wide_stem": (True, False, 1, None),
    "plain": (True, False, 1, None),
    "k": (1, 2, 8, 9, 0, 1.5, None),
    "cardinality": (1, 32, 128, 129, 0, "32", None),
    "denoise": ("official", "space_time", "frame_shared", "frame_separate", "median", "", 1, True, None),
    "denoise_options": ({}, {"relu": True}, {"frames": 8}, [], "relu", 3, None),
}
TOGETHER: tuple[dict[str, Any], ...] = (
    {"denoise": "official", "denoise_options": {"relu": True, "affinity": "dot_product", "norm": "unused"}},
    {"denoise": "official", "denoise_options": {"frames": 8}},
    {"denoise": "frame_separate", "denoise_options": {"frames": 8, "pairs": "all"}},
    {"denoise": "frame_separate", "denoise_options": {"frames": 513}},
    {"denoise": "frame_separate", "denoise_options": {"pairs": "none"}},
    {"denoise": "frame_separate", "denoise_options": {"embed": False}},
    {"denoise": "frame_shared", "denoise_options": {"embed": False}},
    {"denoise": "frame_shared", "denoise_options": {"relu": 1}},
    {"denoise": "space_time", "denoise_options": {"norm": "group"}},
    {"denoise": "space_time", "denoise_options": {"affinity": "cosine"}},
    {"denoise": "space_time", "denoise_options": {"size": 3}},
    {"denoise": "space_time", "denoise_options": []},
    {"denoise": "space_time", "denoise_options": None},
)


def builds(architecture: str, arguments: dict[str, Any]) -> bool:
    """Whether the builder takes them; no weights are made."""
    try:
        with torch.device("meta"):
            ARCHITECTURES[architecture](7, **arguments)
    except (TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_argument_of_a_builder_is_in_the_table(architecture: str) -> None:
    parameters = list(inspect.signature(ARCHITECTURES[architecture]).parameters)
    assert parameters[0] == "classes"
    assert set(ARGUMENTS[architecture]) == set(parameters[1:])
    assert set(ARGUMENTS[architecture]) <= set(VALUES)
    assert not wrong_arguments(architecture, {})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_the_table_refuses_the_builder_refuses_and_nothing_else(architecture: str) -> None:
    # The smallest network of every kind, beside what is tried.
    depths = {"resnet3d": 10, "preact-resnet3d": 10, "r2plus1d": 10, "wide-resnet3d": 50, "resnext3d": 50}
    small = {"depth": depths[architecture]} if architecture in depths else {}
    tried = [small | {name: value} for name, values in VALUES.items() for value in values]
    tried += [small | together for together in TOGETHER]
    for arguments in tried:
        wrong = wrong_arguments(architecture, arguments)
        assert bool(wrong) != builds(architecture, arguments), (arguments, wrong)
        assert set(wrong) <= set(arguments)
        assert all(wrong.values()), "each says what is wrong"


def test_what_is_refused_is_said_in_words() -> None:
    assert wrong_arguments("resnet3d", {"depth": 11, "colour": "red"}) == {
        "depth": "depth=11 is not one of 10, 18, 34, 50, 101, 152, 200",
        "colour": "resnet3d has no argument 'colour': it takes conv1_t_size, conv1_t_stride, cut_shortcut_gradient, "
        "denoise, denoise_options, depth, no_max_pool, plain, shortcut, widen_factor",
    }
    assert wrong_arguments("r3d_18", {"denoise_options": {"relu": True}}) == {
        "denoise_options": "denoise_options need denoise to be one of official, space_time, frame_shared, "
        "frame_separate"
    }


def test_the_table_needs_no_torch() -> None:
    program = "import sys, models.architecture_arguments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
