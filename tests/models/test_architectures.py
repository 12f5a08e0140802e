"""Keys and shapes of every architecture, and the refusal of arguments that no network can be built of."""

import math
from typing import Any

import pytest
import torch

from models import architectures
from models.architectures import ARCHITECTURES, build
from models.resnet3d import ResNet3D
from multav.errors import BadCheckpoint
from multav.geometry import InputGeometry
from multav.model_card import ModelCard

torch.set_num_threads(1)
GEOMETRY = InputGeometry(
    frames=8, stride=1, short_side=32, height=32, width=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
)


def card(architecture: str, **arguments: Any) -> ModelCard:
    return ModelCard(
        name="tiny",
        architecture=architecture,
        arguments=arguments,
        classes=("a", "b", "c"),
        geometry=GEOMETRY,
    )


def state_of(name: str, **arguments: Any) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return dict(ARCHITECTURES[name](101, **arguments).state_dict())


def norms(*prefixes: str) -> set[str]:
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{prefix}.{part}" for prefix in prefixes for part in parts}


def haras_keys(blocks: tuple[int, ...], convolutions: int, shortcuts: tuple[int, ...]) -> set[str]:
    """Written from the description of his checkpoints: `shortcuts` are the layers whose first block has one."""
    keys = {"conv1.weight", "fc.weight", "fc.bias"} | norms("bn1")
    for layer, number in enumerate(blocks, start=1):
        for place in range(number):
            prefix = f"layer{layer}.{place}"
            for index in range(1, convolutions + 1):
                keys |= {f"{prefix}.conv{index}.weight"} | norms(f"{prefix}.bn{index}")
        if layer in shortcuts:
            keys |= {f"layer{layer}.0.downsample.0.weight"} | norms(f"layer{layer}.0.downsample.1")
    return keys


@pytest.mark.parametrize(
    ("name", "arguments", "blocks", "convolutions", "shortcuts"),
    [
        ("resnet3d", {"depth": 18, "shortcut": "A"}, (2, 2, 2, 2), 2, ()),
        ("resnet3d", {"depth": 10}, (1, 1, 1, 1), 2, (2, 3, 4)),
        ("resnet3d", {"depth": 18}, (2, 2, 2, 2), 2, (2, 3, 4)),
        ("resnet3d", {"depth": 34}, (3, 4, 6, 3), 2, (2, 3, 4)),
        ("resnet3d", {"depth": 50}, (3, 4, 6, 3), 3, (1, 2, 3, 4)),
        ("resnet3d", {"depth": 50, "shortcut": "A"}, (3, 4, 6, 3), 3, ()),
        ("resnet3d", {"depth": 101}, (3, 4, 23, 3), 3, (1, 2, 3, 4)),
        ("resnet3d", {"depth": 152}, (3, 8, 36, 3), 3, (1, 2, 3, 4)),
        ("resnet3d", {"depth": 200}, (3, 24, 36, 3), 3, (1, 2, 3, 4)),
        ("wide-resnet3d", {}, (3, 4, 6, 3), 3, (1, 2, 3, 4)),
        ("resnext3d", {}, (3, 4, 23, 3), 3, (1, 2, 3, 4)),
        ("preact-resnet3d", {}, (2, 2, 2, 2), 2, (2, 3, 4)),
        ("preact-resnet3d", {"depth": 200}, (3, 24, 36, 3), 3, (1, 2, 3, 4)),
    ],
    ids=str,
)
def test_haras_keys(
    name: str,
    arguments: dict[str, Any],
    blocks: tuple[int, ...],
    convolutions: int,
    shortcuts: tuple[int, ...],
) -> None:
    assert state_of(name, **arguments).keys() == haras_keys(blocks, convolutions, shortcuts)


@pytest.mark.parametrize(("shortcut", "old", "new"), [("A", 87, 104), ("B", 102, 122)])
def test_entries_with_and_without_the_counter_that_old_torch_lacked(
    shortcut: str, old: int, new: int
) -> None:
    state = state_of("resnet3d", shortcut=shortcut)
    assert len(state) == new
    assert sum(not name.endswith("num_batches_tracked") for name in state) == old


def test_a_checkpoint_without_the_counters_loads() -> None:
    network = ResNet3D(4, depth=10, widen_factor=0.1)
    old = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    for value in old.values():
        value.fill_(0.5)
    found = network.load_state_dict(old, strict=False)
    assert not found.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in found.missing_keys)


@pytest.mark.parametrize(
    ("name", "arguments", "shapes"),
    [
        (
            "wide-resnet3d",
            {},
            {
                "conv1.weight": (64, 3, 7, 7, 7),
                "layer1.0.conv1.weight": (128, 64, 1, 1, 1),
                "layer1.0.conv3.weight": (256, 128, 1, 1, 1),
                "layer4.2.conv2.weight": (1024, 1024, 3, 3, 3),
                "fc.weight": (101, 2048),
            },
        ),
        ("wide-resnet3d", {"wide_stem": True}, {"conv1.weight": (128, 3, 7, 7, 7)}),
        (
            "resnext3d",
            {},
            {
                "conv1.weight": (64, 3, 7, 7, 7),
                "layer1.0.conv1.weight": (128, 64, 1, 1, 1),
                "layer1.0.conv2.weight": (128, 4, 3, 3, 3),
                "layer1.0.conv3.weight": (256, 128, 1, 1, 1),
                "layer4.0.conv2.weight": (1024, 32, 3, 3, 3),
                "fc.weight": (101, 2048),
            },
        ),
        ("resnext3d", {"wide_stem": True}, {"conv1.weight": (128, 3, 7, 7, 7)}),
        ("resnext3d", {"cardinality": 8}, {"layer1.0.conv2.weight": (32, 4, 3, 3, 3)}),
        (
            "preact-resnet3d",
            {"depth": 50},
            {"layer2.0.bn1.weight": (256,), "layer2.0.bn3.weight": (128,), "bn1.weight": (64,)},
        ),
        (
            "r2plus1d",
            {},
            {
                # 3 * 64 * 7 * 49 // (3 * 49 + 7 * 64), and 64 * 64 * 27 // (64 * 9 + 3 * 64)
                "conv1_s.weight": (110, 3, 1, 7, 7),
                "conv1_t.weight": (64, 110, 7, 1, 1),
                "layer1.0.conv1_s.weight": (144, 64, 1, 3, 3),
                "layer2.0.conv1_s.weight": (230, 64, 1, 3, 3),
                "layer2.0.conv2_s.weight": (288, 128, 1, 3, 3),
                "layer2.0.conv2_t.weight": (128, 288, 3, 1, 1),
                "layer2.0.bn2_t.running_var": (128,),
            },
        ),
        (
            "r2plus1d",
            {"depth": 50},
            {"layer1.0.conv1.weight": (64, 64, 1, 1, 1), "layer1.0.conv2_s.weight": (144, 64, 1, 3, 3)},
        ),
        (
            "r3d_18",
            {},
            {
                "stem.0.weight": (64, 3, 3, 7, 7),
                "stem.1.running_mean": (64,),
                "layer2.0.conv1.0.weight": (128, 64, 3, 3, 3),
                "layer2.0.conv2.1.bias": (128,),
                "layer2.0.downsample.0.weight": (128, 64, 1, 1, 1),
                "fc.weight": (101, 512),
            },
        ),
        (
            "mc3_18",
            {},
            {"layer1.0.conv1.0.weight": (64, 64, 3, 3, 3), "layer2.0.conv1.0.weight": (128, 64, 1, 3, 3)},
        ),
        (
            "r2plus1d_18",
            {},
            {
                "stem.0.weight": (45, 3, 1, 7, 7),
                "stem.1.weight": (45,),
                "stem.3.weight": (64, 45, 3, 1, 1),
                "stem.4.weight": (64,),
                "layer2.0.conv1.0.0.weight": (230, 64, 1, 3, 3),
                "layer2.0.conv1.0.1.weight": (230,),
                "layer2.0.conv1.0.3.weight": (128, 230, 3, 1, 1),
                "layer2.0.conv1.1.weight": (128,),
                # the width of the first convolution, for both
                "layer2.0.conv2.0.0.weight": (230, 128, 1, 3, 3),
                "layer2.1.conv2.0.0.weight": (288, 128, 1, 3, 3),
            },
        ),
    ],
    ids=str,
)
def test_weights(name: str, arguments: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    state = state_of(name, **arguments)
    assert {key: tuple(state[key].shape) for key in shapes} == shapes


@pytest.mark.parametrize(("name", "entries"), [("r3d_18", 122), ("mc3_18", 122), ("r2plus1d_18", 224)])
def test_torchvisions_keys(name: str, entries: int) -> None:
    state = state_of(name)
    assert len(state) == entries
    factored = name == "r2plus1d_18"
    keys = {"stem.0.weight", "fc.weight", "fc.bias"} | norms("stem.1")
    if factored:
        keys |= {"stem.3.weight"} | norms("stem.4")
    for layer in (1, 2, 3, 4):
        for place in (0, 1):
            for half in ("conv1", "conv2"):
                prefix = f"layer{layer}.{place}.{half}"
                keys |= norms(f"{prefix}.1")
                keys |= (
                    {f"{prefix}.0.0.weight", f"{prefix}.0.3.weight"} | norms(f"{prefix}.0.1")
                    if factored
                    else {f"{prefix}.0.weight"}
                )
        if layer > 1:
            keys |= {f"layer{layer}.0.downsample.0.weight"} | norms(f"layer{layer}.0.downsample.1")
    assert state.keys() == keys


@pytest.mark.parametrize(
    ("name", "frames", "shapes"),
    [
        ("resnet3d", 40, [(64, 20, 28, 28), (128, 10, 14, 14), (256, 5, 7, 7), (512, 3, 4, 4)]),
        ("resnet3d", 16, [(64, 8, 28, 28), (128, 4, 14, 14), (256, 2, 7, 7), (512, 1, 4, 4)]),
        ("preact-resnet3d", 40, [(64, 20, 28, 28), (128, 10, 14, 14), (256, 5, 7, 7), (512, 3, 4, 4)]),
        ("r2plus1d", 16, [(64, 8, 28, 28), (128, 4, 14, 14), (256, 2, 7, 7), (512, 1, 4, 4)]),
        ("wide-resnet3d", 40, [(256, 20, 28, 28), (512, 10, 14, 14), (1024, 5, 7, 7), (2048, 3, 4, 4)]),
        ("resnext3d", 16, [(256, 8, 28, 28), (512, 4, 14, 14), (1024, 2, 7, 7), (2048, 1, 4, 4)]),
        ("r3d_18", 40, [(64, 40, 56, 56), (128, 20, 28, 28), (256, 10, 14, 14), (512, 5, 7, 7)]),
        ("mc3_18", 16, [(64, 16, 56, 56), (128, 16, 28, 28), (256, 16, 14, 14), (512, 16, 7, 7)]),
        ("r2plus1d_18", 16, [(64, 16, 56, 56), (128, 8, 28, 28), (256, 4, 14, 14), (512, 2, 7, 7)]),
    ],
)
def test_shapes(name: str, frames: int, shapes: list[tuple[int, ...]]) -> None:
    seen: list[tuple[int, ...]] = []
    with torch.device("meta"):
        network = ARCHITECTURES[name](7).eval()
        for layer in range(1, 5):
            network.get_submodule(f"layer{layer}").register_forward_hook(
                lambda *args: seen.append(tuple(args[2].shape[1:]))
            )
        assert network(torch.empty(2, 3, frames, 112, 112)).shape == (2, 7)
    assert seen == shapes


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_torchvisions_start(name: str) -> None:
    torch.manual_seed(0)
    state = ARCHITECTURES[name](101).state_dict()
    assert not state["fc.bias"].any()
    assert float(state["fc.weight"].std()) == pytest.approx(0.01, rel=0.02)
    for key, weight in state.items():
        if weight.ndim == 5:
            spread = math.sqrt(2 / (weight.shape[0] * weight[0, 0].numel()))
            assert float(weight.std()) == pytest.approx(spread, rel=0.06), key


def test_a_watched_sequence_runs_as_it_is_written() -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES["r2plus1d_18"](3).eval().requires_grad_(False)
    clips = torch.rand(1, 3, 4, 24, 24)
    alone = network(clips)
    seen: list[str] = []
    for name in ("layer1.0.conv1", "layer1.0.conv1.0", "layer1.0.conv1.0.1", "layer1.0.conv1.2"):
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.append(name))
    torch.testing.assert_close(network(clips), alone, atol=1e-5, rtol=1e-4)
    assert sorted(seen) == sorted(
        ["layer1.0.conv1", "layer1.0.conv1.0", "layer1.0.conv1.0.1", "layer1.0.conv1.2"]
    )


def test_build_gives_what_the_builder_gives() -> None:
    torch.manual_seed(5)
    built = build(card("resnet3d", depth=10, widen_factor=0.1))
    torch.manual_seed(5)
    direct = ResNet3D(3, depth=10, widen_factor=0.1)
    for one, other in zip(built.parameters(), direct.parameters(), strict=True):
        assert torch.equal(one, other)


WRONG: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("resnet3d", {"depth": 10**9}, ValueError, "is not one of 10, 18, 34, 50, 101, 152, 200"),
    ("resnet3d", {"depth": "18"}, TypeError, "is not one of 10, 18"),
    ("resnet3d", {"depth": True}, TypeError, "is not one of 10, 18"),
    ("resnet3d", {"depth": [18]}, TypeError, "is not one of 10, 18"),
    ("resnet3d", {"depth": 18.0}, TypeError, "is not one of 10, 18"),
    ("resnet3d", {"shortcut": "C"}, ValueError, "is not one of 'A', 'B'"),
    ("resnet3d", {"shortcut": None}, TypeError, "is not one of 'A', 'B'"),
    ("resnet3d", {"widen_factor": 10**400}, ValueError, "above 0 and at most 4"),
    ("resnet3d", {"widen_factor": 1e6}, ValueError, "above 0 and at most 4"),
    ("resnet3d", {"widen_factor": float("nan")}, ValueError, "above 0 and at most 4"),
    ("resnet3d", {"widen_factor": float("inf")}, ValueError, "above 0 and at most 4"),
    ("resnet3d", {"widen_factor": -1}, ValueError, "above 0 and at most 4"),
    ("resnet3d", {"widen_factor": "wide"}, TypeError, "a number above 0"),
    ("resnet3d", {"widen_factor": True}, TypeError, "a number above 0"),
    ("resnet3d", {"conv1_t_size": 10**9 + 1}, ValueError, "from 1 to 31"),
    ("resnet3d", {"conv1_t_size": 10**4000}, ValueError, "from 1 to 31"),
    ("resnet3d", {"conv1_t_size": 7.5}, TypeError, "whole number from 1 to 31"),
    ("resnet3d", {"conv1_t_stride": 0}, ValueError, "from 1 to 16"),
    ("resnet3d", {"no_max_pool": "no"}, TypeError, "true or false"),
    ("resnet3d", {"cut_shortcut_gradient": 1}, TypeError, "true or false"),
    ("resnet3d", {"plain": None}, TypeError, "true or false"),
    ("wide-resnet3d", {"k": 10**6}, ValueError, "from 1 to 8"),
    ("wide-resnet3d", {"depth": 18}, ValueError, "50, 101, 152, 200"),
    ("wide-resnet3d", {"wide_stem": "yes"}, TypeError, "true or false"),
    ("resnext3d", {"cardinality": 10**6}, ValueError, "from 1 to 128"),
    ("resnext3d", {"cardinality": -32}, ValueError, "from 1 to 128"),
    ("resnext3d", {"depth": 34}, ValueError, "50, 101, 152, 200"),
    ("preact-resnet3d", {"depth": 11}, ValueError, "10, 18"),
    ("r2plus1d", {"widen_factor": 0}, ValueError, "above 0"),
    ("r3d_18", {"plain": "x"}, TypeError, "true or false"),
    ("r3d_18", {"depth": 34}, TypeError, "unexpected keyword"),
]


@pytest.mark.parametrize(("name", "arguments", "error", "words"), WRONG, ids=lambda value: f"{value!r:.40}")
def test_wrong_arguments_are_refused(
    name: str,
    arguments: dict[str, Any],
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_layers(*_: object, **__: object) -> None:
        pytest.fail("a layer was made before the arguments were checked")

    monkeypatch.setattr(torch.nn.Conv3d, "__init__", no_layers)
    with pytest.raises(error, match=words):
        ARCHITECTURES[name](10, **arguments)
    with pytest.raises(BadCheckpoint, match=words):
        build(card(name, **arguments))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(
    ("classes", "error"), [(0, ValueError), (10**9, ValueError), ("ten", TypeError), (True, TypeError)]
)
def test_a_wrong_number_of_classes_is_refused(name: str, classes: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="from 1 to 100000"):
        ARCHITECTURES[name](classes)


def test_a_refused_card_is_told_what_its_architecture_takes() -> None:
    with pytest.raises(BadCheckpoint, match="takes denoise, denoise_options, plain"):
        build(card("r3d_18", wide=3))


def test_a_network_too_large_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.device] = []
    real = architectures.ARCHITECTURES["resnet3d"]

    def builder(*args: Any, **kwargs: Any) -> torch.nn.Module:
        network = real(*args, **kwargs)
        made.append(next(network.parameters()).device)
        return network

    monkeypatch.setitem(architectures.ARCHITECTURES, "resnet3d", builder)
    with pytest.raises(BadCheckpoint, match="at most 500,000,000 are allowed"):
        build(card("resnet3d", depth=200, widen_factor=4))
    assert made == [torch.device("meta")]
