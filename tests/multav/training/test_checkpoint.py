"""Checkpoint files: what was written comes back, and what is no checkpoint is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from multav.errors import BadCheckpoint
from multav.training import checkpoint
from multav.training.checkpoint import Checkpoint

TENSORS = {
    "model/a": torch.tensor([1.5, -0.0, float("inf"), 1e-40]),
    "model/n": torch.tensor(7),
    "optimiser/0/step": torch.tensor(3.0),
    "half": torch.ones(2, 2, dtype=torch.bfloat16).t(),
}


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    rest = {"step": 3, "loss": 0.1 + 0.2, "none": None, "bad": {"ü/x.avi": 'no "video"'}}
    path = tmp_path / "checkpoint"
    # Two views of one memory are two tensors afterwards.
    shared = torch.arange(6.0)
    checkpoint.write(Checkpoint(TENSORS | {"x": shared[:3], "y": shared}, rest), path)
    found = checkpoint.read(path)
    assert found.rest == rest
    for name, tensor in (TENSORS | {"x": shared[:3], "y": shared}).items():
        assert found.tensors[name].dtype == tensor.dtype
        assert found.tensors[name].shape == tensor.shape
        assert found.tensors[name].equal(tensor), name
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]


def test_the_former_one_stays_until_the_next_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint"
    checkpoint.write(Checkpoint(TENSORS, {"step": 1}), path)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.write(Checkpoint(TENSORS, {"step": 2}), path)
    assert checkpoint.read(path).rest == {"step": 1}


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(BadCheckpoint):
        checkpoint.read(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(BadCheckpoint):
        checkpoint.read(path)
    save_file({"a": torch.zeros(1)}, str(path))
    with pytest.raises(BadCheckpoint):
        checkpoint.read(path)
    save_file({"a": torch.zeros(1)}, str(path), metadata={"multav-training": '{"format": 99}'})
    with pytest.raises(BadCheckpoint, match="another version"):
        checkpoint.read(path)
    checkpoint.write(Checkpoint(TENSORS, {"step": 1}), path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadCheckpoint):
        checkpoint.read(path)
