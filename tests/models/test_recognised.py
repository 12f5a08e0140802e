"""Names and shapes of a state dict say which network it is: over every architecture and what may be chosen of it."""

import inspect
import json
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch

from models.architectures import ARCHITECTURES
from models.recognised import recognised
from multav.errors import BadCheckpoint

WIDENED = ("resnet3d", "preact-resnet3d", "r2plus1d")
CASES: list[tuple[str, dict[str, Any]]] = [
    *(
        (name, {"depth": depth, "shortcut": shortcut, "conv1_t_size": 3})
        for name, depth, shortcut in product(WIDENED, (10, 18, 34, 50), "AB")
    ),
    *((name, {"widen_factor": factor}) for name, factor in product(WIDENED, (0.05, 0.3, 2.0))),
    *(("resnet3d", {"depth": depth, "shortcut": "B"}) for depth in (101, 152, 200)),
    ("preact-resnet3d", {"depth": 200}),
    *(("wide-resnet3d", {"k": k, "wide_stem": wide}) for k, wide in product((2, 3), (False, True))),
    *(("wide-resnet3d", {"shortcut": shortcut, "depth": 101}) for shortcut in "AB"),
    *(("resnext3d", {"depth": 50, "cardinality": groups}) for groups in (1, 2, 8, 16, 32, 64)),
    *(("resnext3d", {"depth": 101, "shortcut": shortcut, "wide_stem": True}) for shortcut in "AB"),
    *((name, {}) for name in ("r3d_18", "mc3_18", "r2plus1d_18")),
]


def shapes_of(name: str, arguments: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    parameters = inspect.signature(ARCHITECTURES[name]).parameters
    return _shapes_of(
        name, json.dumps({key: arguments.get(key, parameters[key].default) for key in list(parameters)[1:]})
    )


@cache
def _shapes_of(name: str, arguments: str) -> dict[str, tuple[int, ...]]:
    """Once for each network, whichever of its arguments were spelled out."""
    with torch.device("meta"):
        network = ARCHITECTURES[name](7, **json.loads(arguments))
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=lambda value: str(value))
def test_every_network_is_recognised(name: str, arguments: dict[str, Any]) -> None:
    shapes = shapes_of(name, arguments)
    found = recognised(shapes)
    assert found is not None
    assert found.architecture == name
    for given, value in arguments.items():
        if given != "widen_factor":  # several factors make the same widths
            assert found.arguments[given] == value
    assert shapes_of(name, found.arguments | found.unseen) == shapes


def test_every_architecture_is_among_the_cases() -> None:
    assert {name for name, _ in CASES} == set(ARCHITECTURES)


@pytest.mark.parametrize(
    "options", [{"frames": 16}, {"frames": 40, "pairs": "all"}, {"norm": "unused"}], ids=str
)
def test_separate_denoising_weights_are_recognised(options: dict[str, Any]) -> None:
    shapes = shapes_of("resnet3d", {"denoise": "frame_separate", "denoise_options": options, "shortcut": "A"})
    found = recognised(shapes)
    assert found is not None
    assert found.arguments["denoise"] == "frame_separate"
    assert shapes_of("resnet3d", found.arguments | found.unseen) == shapes


@pytest.mark.parametrize("variant", ["official", "space_time", "frame_shared"])
def test_other_denoising_blocks_are_asked_for(variant: str) -> None:
    found = recognised(shapes_of("resnet3d", {"denoise": variant}))
    assert found is not None
    assert "denoise" not in found.arguments
    assert "give arguments.denoise" in found.undecided["denoise"]


def test_what_no_shape_shows_is_named() -> None:
    a, b = (recognised(shapes_of("resnet3d", {"shortcut": shortcut})) for shortcut in "AB")
    assert a is not None
    assert b is not None
    assert a.unseen == {"conv1_t_stride": 1, "no_max_pool": False, "cut_shortcut_gradient": False}
    assert b.unseen == {"conv1_t_stride": 1, "no_max_pool": False}


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"weight": (3, 4)},
        {"conv1.weight": (64, 3, 7, 7), "fc.weight": (2, 512)},
        {"conv1.weight": (64, 3, 7, 7, 7), "fc.weight": (2, 512), "layer1.0.conv1.weight": (64, 64, 3, 3, 3)},
        {"conv1.weight": (), "stem.0.weight": ()},
        {f"layer{layer}.999.conv1.weight": () for layer in range(1, 5)}
        | {"fc.weight": (), "conv1.weight": ()},
        {key: (0,) * len(shape) for key, shape in shapes_of("resnet3d", {"depth": 50}).items()},
        dict.fromkeys(shapes_of("resnext3d", {}), ()) | {"conv1.weight": (64, 3, 7, 7, 7)},
    ],
    ids=range(8),
)
def test_strange_shapes_are_no_network_or_one_that_does_not_fit(shapes: dict[str, tuple[int, ...]]) -> None:
    found = recognised(shapes)
    assert found is None or found.architecture in ARCHITECTURES


@pytest.mark.parametrize(
    ("arch", "agrees"),
    [
        (None, True),
        ("resnet-18", True),
        ("resnet-34", False),
        ("preresnet-18", False),
        ("resnext-101", False),
        ("densenet-121", False),
        ("r3d_18", False),
    ],
)
def test_the_files_own_name_must_agree(arch: str | None, agrees: bool) -> None:
    found = recognised(shapes_of("resnet3d", {"shortcut": "A"}))
    assert found is not None
    if agrees:
        assert found.refuse_other_name(arch) is None
    else:
        with pytest.raises(
            BadCheckpoint, match=f"says that it holds '{arch}', but its tensors are those of resnet3d"
        ):
            found.refuse_other_name(arch)


def test_a_name_that_says_nothing_is_passed_on() -> None:
    found = recognised(shapes_of("resnet3d", {}))
    assert found is not None
    assert "was not compared" in (found.refuse_other_name("my net") or "")
