"""A worker's parts on a real database; models are small and made here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from models.architectures import build
from models.checkpoints import save
from models.pixel_classifier import PixelClassifier
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from store import models
from store.database import Database, migrate
from store.models import RegisteredModel
from store.settings import Settings

torch.set_num_threads(1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a data folder of the test's own, whose database is migrated."""
    found = Settings(data_dir=tmp_path / "data", device="cpu", loaded_models=2)
    found.data_dir.mkdir()
    migrate(found.database)
    return found


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The database of `settings`."""
    database = Database(settings.database)
    yield database
    database.close()


@pytest.fixture
def make_model(database: Database, tmp_path: Path) -> Callable[..., RegisteredModel]:
    """Registers a small network: `make_model(name, seed=0)`."""

    def make(name: str, seed: int = 0) -> RegisteredModel:
        card = ModelCard(
            name=name,
            architecture="resnet3d",
            arguments={"widen_factor": 0.0625},
            classes=("a", "b", "c"),
            geometry=InputGeometry(frames=4, stride=1, short_side=32, height=32, width=32),
        )
        torch.manual_seed(seed)
        path = tmp_path / f"{name}-{seed}.safetensors"
        save(PixelClassifier(build(card), card), path)
        return models.register(database, path)

    return make
