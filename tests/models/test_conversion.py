"""Files of each kind become checkpoints of ours that compute what their network computed."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from models.checkpoints import load, save
from models.pixel_classifier import PixelClassifier
from models.torchvision_resnets import R3D18
from multav.errors import BadCheckpoint, InvalidSpec
from multav.model_card import ModelCard, card_of
from tests.models.functional_networks import hara as hara_logits
from tests.models.small_networks import (
    CLASSES,
    GEOMETRY,
    SAID,
    convert,
    hara,
    hara_2018,
    normalised,
    on_the_gpu,
    pickled,
    tiny,
    trained,
)

torch.set_num_threads(1)


def quantised() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is giving them up
        return torch.quantize_per_tensor(torch.zeros(3), 1, 0, torch.qint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "resnet-10.pth"


def assert_same(data: bytes, network: nn.Module, clips: Tensor | None = None) -> None:
    """The checkpoint computes what the network does."""
    clips = torch.rand(2, 3, 4, 16, 16) if clips is None else clips
    with torch.no_grad():
        torch.testing.assert_close(load(data)(clips), network(normalised(clips)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize(
    "kind", ["2018", "2018 on a GPU", "2018 zip", "since 2019", "state dict", "safetensors"]
)
def test_a_resnet_comes_through(kind: str, shortcut: str, path: Path) -> None:
    network = tiny(shortcut)
    path.write_bytes(
        {
            "2018": lambda: pickled(hara_2018(network), legacy=True),
            "2018 on a GPU": lambda: on_the_gpu(pickled(hara_2018(network), legacy=True)),
            "2018 zip": lambda: pickled(hara_2018(network)),
            "since 2019": lambda: pickled(hara(network)),
            "state dict": lambda: pickled(network.state_dict()),
            "safetensors": lambda: safetensors_bytes(network.state_dict()),
        }[kind]()
    )
    data = convert(path)
    card = card_of(data)
    assert card.arguments["shortcut"] == shortcut
    assert card.arguments["depth"] == 10
    forms = {"since 2019": "hara", "state dict": "state-dict", "safetensors": "safetensors"}
    assert card.source_format == forms.get(kind, "hara-2018")
    assert card.classes == tuple(CLASSES)
    assert card.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert card.macs
    assert card.smoke is not None
    assert card.smoke["passed"] is True
    assert_same(data, network)
    # An oracle that is not our network: plain convolutions by the keys of the source.
    clips = torch.rand(1, 3, 4, 16, 16)
    torch.testing.assert_close(
        load(data)(clips),
        hara_logits(network.state_dict(), normalised(clips), shortcut=shortcut),
        rtol=1e-3,
        atol=1e-4,
    )
    said = " ".join(card.assumed)
    if kind.startswith("2018"):
        assert "module. of DataParallel" in said
        assert "before 0.4.1" in said
        assert "epoch, optimizer: left out" in said
    if kind == "since 2019":
        assert "epoch, optimizer, scheduler: left out" in said


def test_torchvision_comes_through(path: Path) -> None:
    torch.manual_seed(0)
    network = trained(R3D18(3))
    path.write_bytes(pickled(network.state_dict()))
    data = convert(path)
    assert card_of(data).architecture == "r3d_18"
    assert card_of(data).source_format == "torchvision"
    assert_same(data, network)


def test_ours_comes_through_with_its_card(path: Path) -> None:
    card = ModelCard(
        name="ours",
        architecture="resnet3d",
        arguments={"depth": 10, "widen_factor": 0.0625, "shortcut": "A"},
        classes=tuple(CLASSES),
        geometry=GEOMETRY,
        metrics={"made up": 0.5},
        licence="MIT",
    )
    network = tiny("A")
    save(PixelClassifier(network, card), path, dtype=torch.float16)
    data = convert(path, **dict.fromkeys(SAID))
    made = card_of(data)
    assert (made.name, made.licence, made.metrics) == ("ours", "MIT", {"made up": 0.5})
    assert made.source_format == "multav"
    assert made.assumed == ("Its accuracies are those that the file's card states: not measured here.",)
    # Half precision stays half precision, bit for bit.
    clips = torch.rand(2, 3, 4, 16, 16)
    assert load(data)(clips).equal(load(path)(clips))
    assert len(data) < path.stat().st_size + 5000


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.float32, torch.float32),
        (torch.float64, torch.float32),
    ],
)
def test_types_of_weights(dtype: torch.dtype, kept: torch.dtype, path: Path) -> None:
    network = tiny("B")
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor.to(torch.int32)
        for name, tensor in network.state_dict().items()
    }
    path.write_bytes(pickled(state))
    data = convert(path)
    network.load_state_dict(state)
    assert_same(data, network)
    size = sum(tensor.numel() for tensor in state.values()) * kept.itemsize
    assert size < len(data) < size + 20_000


@pytest.mark.parametrize(("file", "asked"), [("A", "B"), ("B", "A")])
def test_a_and_b_are_never_mixed(file: str, asked: str, path: Path) -> None:
    """Neither by what the user says of the file, nor by a card that speaks of the other type."""
    network = tiny(file)
    words = {
        "A": r"missing: layer2\.0\.downsample\.0\.weight",
        "B": r"unexpected: layer2\.0\.downsample\.0\.bias|unexpected: layer2\.0\.downsample",
    }
    path.write_bytes(pickled(hara_2018(network)))
    with pytest.raises(BadCheckpoint, match=words[file]):
        convert(path, arguments={"shortcut": asked})
    card = ModelCard(
        name="liar",
        architecture="resnet3d",
        arguments={"depth": 10, "widen_factor": 0.0625, "shortcut": asked},
        classes=tuple(CLASSES),
        geometry=GEOMETRY,
    )
    save(PixelClassifier(network, card), path)
    with pytest.raises(BadCheckpoint, match=words[file]):
        convert(path)
    # ... and half of the shortcuts are not type B either
    state = {
        name: tensor for name, tensor in tiny("B").state_dict().items() if "layer3.0.downsample" not in name
    }
    path.write_bytes(pickled(state))
    with pytest.raises(BadCheckpoint, match=r"missing: layer3\.0\.downsample"):
        convert(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fc.bias": None}, "missing: fc.bias"),
        ({"extra": torch.zeros(1)}, "unexpected: extra"),
        (
            {"layer2.0.conv1.weight": torch.zeros(8, 5, 3, 3, 3)},
            r"layer2\.0\.conv1\.weight is \(8, 5, 3, 3, 3\), not",
        ),
        ({"bn1.bias": torch.zeros(1)}, r"wrong shape: bn1\.bias is \(1,\), not \(4,\)"),
        ({"bn1.num_batches_tracked": torch.zeros(1)}, "wrong shape"),
        (
            {"bn1.num_batches_tracked": torch.zeros(())},
            "wrong type: bn1.num_batches_tracked is torch.float32",
        ),
        ({"fc.bias": torch.zeros(3, dtype=torch.int64)}, r"wrong type: fc\.bias is torch\.int64"),
        ({"fc.bias": torch.tensor([0, float("nan"), 0])}, r"not finite: fc\.bias"),
        ({"fc.bias": torch.tensor([0, 1e300, 0], dtype=torch.float64)}, r"not finite: fc\.bias"),
        ({"bn1.running_var": -torch.ones(4)}, "logits that are not finite"),
        ({"fc.weight": torch.zeros(3, 32)}, "zero everywhere"),
        (
            {"fc.weight": torch.zeros(3, 32), "bn1.num_batches_tracked": None},
            r"missing: bn1\.num_batches_tracked",
        ),
        ({"fc.bias": torch.zeros(3, dtype=torch.bool)}, r"'fc\.bias' is of type torch\.bool"),
        ({"fc.bias": torch.zeros(3, dtype=torch.complex64)}, "is of type torch.complex64"),
        ({"fc.bias": torch.zeros(1).expand(3)}, "a view that repeats its values"),
        ({"fc.bias": torch.zeros(3).to_sparse()}, "not an ordinary dense tensor"),
        ({"fc.bias": quantised()}, "is quantised"),
        ({"fc.bias": torch.zeros(3, device="meta")}, "without values"),
        ({"fc.bias": torch.zeros(1, 1, 1, 1, 1, 3)}, "6 dimensions"),
        ({"x" * 400: torch.zeros(1)}, "a name of 400 characters"),
        ({"fc.bias": torch.zeros(12).as_strided((3, 2), (1, 1))}, "a view that repeats its values"),
    ],
    ids=range(21),
)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_tensors_that_do_not_fit_are_named(
    change: dict[str, Tensor | None], words: str, legacy: bool, path: Path
) -> None:
    state: dict[str, Any] = {**tiny("A").state_dict(), **change}
    path.write_bytes(
        pickled({name: value for name, value in state.items() if value is not None}, legacy=legacy)
    )
    with pytest.raises(BadCheckpoint, match=words):
        convert(path)


def test_weights_that_share_memory_are_refused(path: Path) -> None:
    state = tiny("A").state_dict()
    state["bn1.weight"] = state["bn1.bias"]
    path.write_bytes(pickled(state))
    with pytest.raises(BadCheckpoint, match=r"are the same memory"):
        convert(path)


def test_weights_that_are_parts_of_one_storage_come_through(path: Path) -> None:
    network = tiny("A")
    flat = torch.cat(
        [tensor.flatten() for tensor in network.state_dict().values() if tensor.is_floating_point()]
    )
    state, at = network.state_dict(), 0
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = flat[at : at + tensor.numel()].view(tensor.shape)
            at += tensor.numel()
    path.write_bytes(pickled(state))
    assert_same(convert(path), network)


def test_other_layouts_come_through(path: Path) -> None:
    network = tiny("A")
    state = network.state_dict()
    state["conv1.weight"] = state["conv1.weight"].contiguous(memory_format=torch.channels_last_3d)
    state["fc.weight"] = state["fc.weight"].t().contiguous().t()
    path.write_bytes(
        pickled({name: nn.Parameter(tensor) if "conv" in name else tensor for name, tensor in state.items()})
    )
    assert_same(convert(path), network)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (5, "holds a int, not a state dict"),
        ([torch.zeros(1)], "holds a list"),
        ({}, "it is empty"),
        ({"state_dict": {}}, "it is empty"),
        ({"epoch": 1}, "its entry 'epoch' is no named tensor"),
        ({1: torch.zeros(1)}, "its entry 1 is no named tensor"),
        ({"state_dict": {"a": {"b": torch.zeros(1)}}}, "its entry 'a' is no named tensor"),
        ({"weight": torch.zeros(1)}, "no architecture that is recognised"),
    ],
    ids=range(8),
)
def test_what_is_no_state_dict(what: Any, words: str, path: Path) -> None:
    for legacy in (False, True):
        path.write_bytes(pickled(what, legacy=legacy))
        with pytest.raises(BadCheckpoint, match=words):
            convert(path)


def test_the_files_own_name_must_agree(path: Path) -> None:
    path.write_bytes(pickled(hara_2018(tiny("A"), arch="resnet-18")))
    with pytest.raises(
        BadCheckpoint, match=r"says that it holds 'resnet-18', but its tensors are those of resnet3d"
    ):
        convert(path)


def test_what_is_missing_is_asked_for(path: Path) -> None:
    path.write_bytes(pickled(hara_2018(tiny("A"))))
    with pytest.raises(InvalidSpec) as caught:
        convert(path, classes=None, geometry={})
    assert [each["pointer"] for each in caught.value.errors] == [
        "/classes",
        "/geometry/mean",
        "/geometry/std",
    ]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"arguments": {"depth": 34}}, "missing: layer1"),
        ({"arguments": {"conv1_t_size": 8}}, "cannot be built"),
        ({"arguments": {"widen_factor": 1e9}}, "cannot be built"),
        ({"arguments": {"nonsense": 1}}, "cannot be built"),
        ({"arguments": {"depth": [18]}}, "cannot be built"),
        ({"architecture": "mc3_18"}, "not of 'mc3_18'"),
    ],
    ids=str,
)
def test_wrong_arguments(said: dict[str, Any], words: str, path: Path) -> None:
    path.write_bytes(pickled(hara_2018(tiny("A"))))
    with pytest.raises(BadCheckpoint, match=words):
        convert(path, **said)


def test_the_cut_gradient_is_reported(path: Path) -> None:
    path.write_bytes(pickled(hara_2018(tiny("A"))))
    card = card_of(convert(path, arguments={"cut_shortcut_gradient": True}))
    assert card.smoke is not None
    assert "cut_shortcut_gradient" in card.smoke["remarks"][0]


def test_a_file_too_large_for_its_limit(path: Path) -> None:
    from models.source_checkpoint import read_source

    path.write_bytes(pickled(tiny("A").state_dict()))
    with pytest.raises(BadCheckpoint, match=r"values together where 1000 are allowed"):
        read_source(path, max_values=1000)
