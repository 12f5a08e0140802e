"""The operator's folder: what is in it is registered at the start, and what is wrong with it keeps nobody waiting."""

import logging
import os
from pathlib import Path

import pytest
import torch

from models.architectures import build
from models.checkpoints import save
from models.pixel_classifier import PixelClassifier
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from service import model_folder
from service.embedded import prepare
from service.instance import CannotStart
from store import models
from store.database import Database
from store.models import RegisteredModel
from store.settings import Settings

torch.set_num_threads(1)


def put(folder: Path, seed: int) -> None:
    card = ModelCard(
        name="operators",
        architecture="resnet3d",
        arguments={"widen_factor": 0.0625},
        classes=("a", "b", "c"),
        geometry=InputGeometry(frames=8, stride=1, short_side=32, height=32, width=32),
    )
    torch.manual_seed(seed)
    save(PixelClassifier(build(card), card), folder / "operators.safetensors")


def registered(settings: Settings) -> dict[str, RegisteredModel]:
    database = Database(settings.database)
    with database.read() as session:
        found = {model.name: model for model in models.listed(session).items}
    database.close()
    return found


def test_native_checkpoints_are_registered_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    put(folder, 0)
    (folder / "broken.safetensors").write_bytes(b"nothing")
    (folder / "notes.txt").write_text("not looked at")
    settings = Settings(data_dir=tmp_path, models_dir=folder)
    with caplog.at_level(logging.ERROR):
        prepare(settings)
    (told,) = (record.getMessage() for record in caplog.records)
    assert "broken.safetensors is not registered" in told
    first = registered(settings)
    assert first["camera-motion-r3d18"].origin == "shipped"
    assert {name for name, model in first.items() if model.origin != "shipped"} == {"operators"}
    assert first["operators"].origin == "folder"
    assert first["operators"].card.smoke is not None

    # The same folder again: nothing is read a second time.
    (folder / "broken.safetensors").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(model_folder, "check_in", lambda *_: pytest.fail("it was tried again"))
        prepare(settings)
    assert registered(settings) == first

    put(folder, 1)
    prepare(settings)
    assert registered(settings)["operators"].sha256 != first["operators"].sha256


def test_what_is_no_file_keeps_nothing_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "folder.safetensors").mkdir()
    (folder / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    (folder / "circle.safetensors").symlink_to("circle.safetensors")
    os.mkfifo(folder / "pipe.safetensors")
    put(folder, 0)
    settings = Settings(data_dir=tmp_path, models_dir=folder)
    with caplog.at_level(logging.ERROR):
        prepare(settings)
    assert len(caplog.records) == 4
    assert all("it is not a file" in record.getMessage() for record in caplog.records)
    assert "operators" in registered(settings)

    # One that may not be read, or goes while it is looked at.
    caplog.clear()
    (folder / "unreadable.safetensors").write_bytes(b"nothing")

    def refused(path: Path) -> str:
        raise PermissionError(f"no right to read {path.name}")

    monkeypatch.setattr(model_folder, "_sha256", refused)
    with caplog.at_level(logging.ERROR):
        prepare(settings)
    assert "no right to read unreadable.safetensors" in caplog.text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="MULTAV_MODELS_DIR"):
        prepare(Settings(data_dir=tmp_path, models_dir=tmp_path / "none"))
    assert Settings(models_dir="").models_dir is None  # type: ignore[arg-type]
