"""A worker's parts on a real database; models are small and made here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from models.architectures import build
from models.checkpoints import save
from models.pixel_classifier import PixelClassifier
from multav.datasets.catalogue import parse_dataset
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from store import datasets, models
from store.database import Database, migrate
from store.models import RegisteredModel
from store.queue import Queue
from store.settings import Settings
from store.work_folders import WorkFolders
from worker.dataset_cache import DatasetCache
from worker.model_cache import ModelCache

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


@dataclass
class Process:
    """What a runner asks of its process."""

    database: Database
    settings: Settings
    models: ModelCache
    datasets: DatasetCache
    folders: WorkFolders
    queue: Queue
    device: str = "cpu"


@pytest.fixture
def process(database: Database, settings: Settings) -> Process:
    """A worker's, with two small datasets registered: `few` and `held-out`."""
    for name, seed in (("few", 1), ("held-out", 2)):
        dataset = parse_dataset({"kind": "synthetic", "clips": 30, "size": 16, "frames": 4, "seed": seed})
        with database.write() as session:
            datasets.add(session, name, dataset, dataset.listing(), root=None, blob=None, origin="made")
    folders = WorkFolders(settings.data_dir / "work")
    cache = ModelCache(database, "cpu", folders, settings)
    return Process(database, settings, cache, DatasetCache(database, settings), folders, Queue(settings))


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


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A whole training on two processes: what was `Trained`, and what was `Watched` of it."""
    # Here the module would be loaded before those that it tests.
    from tests.worker.test_many_devices import Watched, on_two

    watched = Watched()
    return on_two(tmp_path_factory.mktemp("unbroken"), {}, watched), watched
