"""Checkpoints come back as they were, and wrong ones are refused by name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.architectures import build
from models.checkpoints import load, save
from models.pixel_classifier import PixelClassifier
from multav.errors import BadCheckpoint
from multav.geometry import InputGeometry
from multav.model_card import METADATA_KEY, ModelCard, read_card

torch.set_num_threads(1)
CARD = ModelCard(
    name="tiny",
    architecture="resnet3d",
    arguments={"widen_factor": 0.125},
    classes=("a", "b", "c"),
    geometry=InputGeometry(
        frames=4, stride=1, short_side=32, height=32, width=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
    ),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoints") / "tiny.safetensors"
    save(PixelClassifier(build(CARD), CARD), path, dtype=torch.float32)
    return path


def rewritten(
    checkpoint: Path, folder: Path, change: dict[str, torch.Tensor | None], **metadata: str
) -> Path:
    tensors = {
        name: tensor for name, tensor in load_file(checkpoint).items() if change.get(name, tensor) is not None
    }
    tensors |= {name: tensor for name, tensor in change.items() if tensor is not None}
    path = folder / "changed.safetensors"
    save_file(tensors, path, metadata=metadata or {METADATA_KEY: CARD.model_dump_json()})
    return path


def test_round_trip(checkpoint: Path) -> None:
    loaded = load(checkpoint)
    assert loaded.card.name == "tiny"
    assert loaded.card.parameters == sum(parameter.numel() for parameter in loaded.parameters())
    assert read_card(checkpoint) == loaded.card
    assert not loaded.training
    clips = torch.rand(2, 3, 4, 32, 32)
    same = load(checkpoint.read_bytes())
    assert same(clips).equal(loaded(clips))
    expected = loaded.backbone((clips - loaded.mean) / loaded.std)
    torch.testing.assert_close(loaded(clips), expected)
    assert loaded.classes == ("a", "b", "c")


def test_half_precision_is_loaded_as_float32(checkpoint: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    save(load(checkpoint), half)
    assert half.stat().st_size < 0.55 * checkpoint.stat().st_size
    loaded = load(half)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    clips = torch.rand(1, 3, 4, 32, 32)
    torch.testing.assert_close(loaded(clips), load(checkpoint)(clips), atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fc.weight": None}, "missing: fc.weight"),
        ({"extra": torch.zeros(1)}, "unexpected: extra"),
        ({"fc.weight": torch.zeros(4, 64)}, "wrong shape: fc.weight is (4, 64), not (3, 64)"),
        ({"fc.bias": torch.tensor([1.0, float("nan"), 0.0])}, "not finite: fc.bias"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    checkpoint: Path, tmp_path: Path, change: dict[str, torch.Tensor | None], words: str
) -> None:
    with pytest.raises(BadCheckpoint) as caught:
        load(rewritten(checkpoint, tmp_path, change))
    assert words in caught.value.detail


def test_files_that_are_no_checkpoints(checkpoint: Path, tmp_path: Path) -> None:
    data = checkpoint.read_bytes()
    for name, content in {
        "empty": b"",
        "garbage": b"not a checkpoint at all, but long enough to hold a length",
        "pickle": b"\x80\x04\x95" + bytes(100),
        "cut in the header": data[:200],
        "cut in the tensors": data[: len(data) // 2],
        "huge header": (2**60).to_bytes(8, "little") + b"{}",
    }.items():
        with pytest.raises(BadCheckpoint):
            load(content)
        path = tmp_path / name
        path.write_bytes(content)
        if not name.startswith("cut in the tensors"):
            with pytest.raises(BadCheckpoint):
                read_card(path)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"other": "x"}, "no model card"),
        ({METADATA_KEY: "{}"}, "not valid"),
        (
            {METADATA_KEY: CARD.model_copy(update={"description": "x" * 2**20}).model_dump_json()},
            "longer than",
        ),
        (
            {METADATA_KEY: CARD.model_dump_json().replace("resnet3d", "os.system")},
            "is not known; known are: .*resnet3d",
        ),
        ({METADATA_KEY: CARD.model_dump_json().replace("widen_factor", "wide")}, "cannot be built"),
    ],
)
def test_wrong_cards(checkpoint: Path, tmp_path: Path, metadata: dict[str, str], words: str) -> None:
    with pytest.raises(BadCheckpoint, match=words):
        load(rewritten(checkpoint, tmp_path, {}, **metadata))


def test_weights_of_type_a_do_not_load_into_type_b(tmp_path: Path) -> None:
    a = CARD.model_copy(update={"arguments": {"widen_factor": 0.125, "shortcut": "A"}})
    save(PixelClassifier(build(a), CARD), tmp_path / "a.safetensors")
    with pytest.raises(BadCheckpoint, match=r"missing: layer2\.0\.downsample"):
        load(tmp_path / "a.safetensors")
