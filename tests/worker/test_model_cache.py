"""Models in a worker's memory: loaded once, let go in time, never of other bytes than were registered."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sqlalchemy import update

import multav
from models.checkpoints import load
from models.pixel_classifier import PixelClassifier
from multav.errors import BadCheckpoint, BadOwnModel, Conflict, NotFound
from store import blobs, models
from store.database import Database
from store.models import RegisteredModel
from store.settings import Settings
from store.tables import BlobChunkTable
from store.work_folders import WorkFolders
from worker.model_cache import ModelCache, size_of

Make = Callable[..., RegisteredModel]


def cache_of(settings: Settings, database: Database, **changes: object) -> ModelCache:
    changed = settings.model_copy(update=changes)
    return ModelCache(database, "cpu", WorkFolders(settings.data_dir / "work"), changed)


def test_a_model_is_loaded_once_and_ready_to_be_attacked(
    settings: Settings, database: Database, make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = make_model("a")
    cache = cache_of(settings, database)
    classifier = cache.get("a", registered.sha256)
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    expected = load(b"".join(blobs.read(database, str(registered.blob_id))))
    clips = torch.rand(1, 3, 4, 32, 32)
    torch.testing.assert_close(classifier(clips), expected(clips))
    monkeypatch.setattr(blobs, "read", lambda *_: pytest.fail("it was read again"))
    assert cache.get("a") is classifier
    # Nothing of the file is left behind.
    assert [path for path in (settings.data_dir / "work").rglob("*") if path.is_file()] == []


def test_the_ones_used_last_stay(settings: Settings, database: Database, make_model: Make) -> None:
    a, b, c = (make_model(name).sha256 for name in "abc")
    cache = cache_of(settings, database)
    for name, loaded in (("a", (a,)), ("b", (a, b)), ("a", (b, a)), ("c", (a, c)), ("c", (a, c))):
        cache.get(name)
        assert cache.loaded == loaded


def test_memory_bounds_them_as_well_as_their_number(
    settings: Settings, database: Database, make_model: Make
) -> None:
    a, b = (make_model(name).sha256 for name in "ab")
    size = size_of(cache_of(settings, database).get("a"))
    for most_bytes, loaded in ((size * 3 // 2, (b,)), (size * 2, (a, b)), (1, (b,))):
        cache = cache_of(settings, database, loaded_models_bytes=most_bytes, loaded_models=5)
        for name in ("a", "b"):
            cache.get(name)
        assert cache.loaded == loaded


def test_what_attacks_keep_beside_a_model_counts_as_well(
    settings: Settings, database: Database, make_model: Make
) -> None:
    a, b = (make_model(name).sha256 for name in "ab")
    size = size_of(cache_of(settings, database).get("a"))
    for precision, loaded in (("float32", (a, b)), ("bfloat16", (b,))):
        cache = cache_of(settings, database, loaded_models_bytes=size * 2 + size // 4, loaded_models=5)
        model = cache.get("a")
        clips, attack = torch.rand(1, 3, 4, 32, 32), multav.parse_attack({"kind": "pgd-linf", "steps": 1})
        multav.craft(model, clips, torch.tensor([0]), attack, precision=precision)  # type: ignore[arg-type]
        cache.get("b")
        assert cache.loaded == loaded


def test_old_models_leave_before_the_new_one_comes(
    settings: Settings, database: Database, make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model("a")
    make_model("b")
    cache = cache_of(settings, database, loaded_models=1)
    cache.get("a")
    meanwhile: list[tuple[str, ...]] = []

    def loading(path: Path) -> PixelClassifier:
        meanwhile.append(cache.loaded)
        return load(path)

    monkeypatch.setattr("worker.model_cache.load", loading)
    cache.get("b")
    assert meanwhile == [()]


def test_a_replaced_model_is_not_the_one_that_was_meant(
    settings: Settings, database: Database, make_model: Make
) -> None:
    first = make_model("a")
    cache = cache_of(settings, database)
    cache.get("a", first.sha256)
    second = make_model("a", seed=1)
    with pytest.raises(Conflict, match="was replaced"):
        cache.get("a", first.sha256)
    cache.get("a", second.sha256)
    with pytest.raises(NotFound):
        cache.get("b")


def test_damaged_bytes_are_not_loaded(settings: Settings, database: Database, make_model: Make) -> None:
    registered = make_model("a")
    with database.write() as session:
        chunk = session.get(BlobChunkTable, (registered.blob_id, 0))
        assert chunk is not None
        data = bytearray(chunk.data)
        # A weight, not the header: still a checkpoint, of another network.
        data[-5] ^= 1
        session.execute(
            update(BlobChunkTable)
            .where(BlobChunkTable.blob_id == registered.blob_id, BlobChunkTable.number == 0)
            .values(data=bytes(data))
        )
    with pytest.raises(BadCheckpoint, match="stored checkpoint of 'a' is damaged"):
        cache_of(settings, database).get("a")


def test_own_code_that_this_worker_does_not_have(
    settings: Settings, database: Database, make_model: Make
) -> None:
    card = make_model("a").card.model_copy(update={"name": "own"})
    with database.write() as session:
        models.declare(session, card, sha256="0" * 64, blob=None, origin="own")
    with pytest.raises(BadOwnModel, match="MULTAV_OWN_MODELS"):
        cache_of(settings, database).get("own")


LOADER = """
import sys
import torch
torch.set_num_threads(1)
from store.database import Database
from store.settings import Settings
from store.work_folders import WorkFolders
from worker.model_cache import ModelCache

settings = Settings()
cache = ModelCache(Database(settings.database), "cpu", WorkFolders(settings.data_dir / "work"), settings)
print("ready", flush=True)
sys.stdin.readline()
print([tensor.double().sum().item() for tensor in cache.get("large").state_dict().values()])
"""


@pytest.mark.slow
def test_processes_that_load_at_once_all_load_the_whole(
    settings: Settings, database: Database, make_model: Make
) -> None:
    """Each has a data folder of its own, as on another host: they share the database and nothing else."""
    make_model("large")
    environment = {**os.environ, **settings.environment(), "OMP_NUM_THREADS": "1"}
    environment |= {"MULTAV_DATABASE_URL": settings.database, "PYTHONPATH": os.pathsep.join(sys.path)}
    loaders = [
        subprocess.Popen(
            [sys.executable, "-c", LOADER],
            env={**environment, "MULTAV_DATA_DIR": str(settings.data_dir / f"host-{number}")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for loader in loaders:
        assert loader.stdout is not None
        assert loader.stdout.readline() == "ready\n"
    for loader in loaders:
        assert loader.stdin is not None
        loader.stdin.write("go\n")
        loader.stdin.flush()
    said = {loader.communicate(timeout=120)[0] for loader in loaders}
    assert [loader.returncode for loader in loaders] == [0, 0]
    weights = cache_of(settings, database).get("large").state_dict().values()
    assert said == {f"{[tensor.double().sum().item() for tensor in weights]}\n"}
