"""What is written clip by clip is read by the safetensors library."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from multav.tensor_file import TensorFile


def test_round_trip(tmp_path: Path) -> None:
    clips = torch.rand(3, 3, 2, 5, 7)
    path = tmp_path / "clips.safetensors"
    with TensorFile(path, "clips", tuple(clips.shape), {"layout": "window"}) as file:
        for clip in clips:
            file.append(clip)
    assert load_file(path)["clips"].equal(clips)
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"layout": "window"}


def test_a_missing_clip_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="header says"),
        TensorFile(tmp_path / "clips.safetensors", "clips", (2, 3), {}) as file,
    ):
        file.append(torch.zeros(3))
