"""Models, idempotency, workers, settings, the queue."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from multav.errors import BadCheckpoint, DependencyDown, IdempotencyMismatch, NotFound
from store import idempotency, models, workers
from store.database import Database
from store.queue import Queue
from store.settings import Settings, load_settings

SHIPPED = Path(__file__).parents[2] / "models" / "checkpoints" / "camera-motion-r3d18.safetensors"


def test_shipped_models_are_registered_once(database: Database) -> None:
    first = models.register_shipped(database)
    assert {model.name for model in first} == {path.stem for path in SHIPPED.parent.glob("*.safetensors")}
    assert SHIPPED.stem in {model.name for model in first}
    assert models.register_shipped(database) == first
    with database.read() as session:
        assert sorted(models.listed(session).items, key=lambda model: model.name) == sorted(
            first, key=lambda model: model.name
        )
        with pytest.raises(NotFound, match="camera-motion-r3d18"):
            models.get(session, "other")


def test_other_bytes_take_the_place_of_a_model(database: Database, tmp_path: Path) -> None:
    (first,) = (model for model in models.register_shipped(database) if model.name == SHIPPED.stem)
    changed = tmp_path / "changed.safetensors"
    data = bytearray(SHIPPED.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    second = models.register(database, changed)
    assert second.sha256 != first.sha256
    with database.read() as session:
        assert models.get(session, first.name) == second


def test_a_wrong_checkpoint_is_not_registered(database: Database, tmp_path: Path) -> None:
    (tmp_path / "wrong.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadCheckpoint):
        models.register(database, tmp_path / "wrong.safetensors")


def test_idempotency_keys(database: Database) -> None:
    digest = idempotency.request_hash({"b": 1, "a": 2}, "video")
    assert digest == idempotency.request_hash({"a": 2, "b": 1}, "video")
    with database.write() as session:
        assert idempotency.answered(session, "k", "POST /x", digest) is None
        assert idempotency.remember(session, "k", "POST /x", digest, "job-1")
    with database.read() as session:
        assert idempotency.answered(session, "k", "POST /x", digest) == "job-1"
        assert idempotency.answered(session, "k", "POST /y", digest) is None
        with pytest.raises(IdempotencyMismatch):
            idempotency.answered(session, "k", "POST /x", "other")


def test_of_two_requests_with_a_key_one_is_remembered(database: Database) -> None:
    class Slower(Exception):
        pass

    def post(number: int) -> bool:
        try:
            with database.write() as session:
                if not idempotency.remember(session, "k", "r", "d", f"job-{number}"):
                    raise Slower
        except Slower:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(post, range(6))) == 1


def test_signs_of_life(database: Database) -> None:
    with database.write() as session:
        workers.beat(session, "w", device="cpu", job_id=None)
        workers.beat(session, "w", device="cpu", job_id="j")
        (worker,) = workers.alive(session, within_seconds=10)
    assert (worker.id, worker.job_id, worker.idle_seconds) == ("w", "j", None)
    with database.write() as session:
        workers.beat(session, "w", device="cpu", job_id=None)
        (worker,) = workers.alive(session, within_seconds=10)
        assert worker.idle_seconds is not None
        assert worker.idle_seconds < 5
        assert workers.alive(session, within_seconds=-1) == []
        workers.leave(session, "w")
        assert workers.alive(session, within_seconds=10) == []


def test_threads_that_ask_first_at_once_share_one_engine(empty_url: str) -> None:
    for _ in range(20):
        database, together = Database(empty_url), threading.Barrier(8)

        def first(database: Database = database, together: threading.Barrier = together) -> int:
            together.wait()
            return id(database.engine)

        with ThreadPoolExecutor(8) as pool:
            assert len({asked.result() for asked in [pool.submit(first) for _ in range(8)]}) == 1
        database.close()


def test_a_database_that_is_away() -> None:
    with pytest.raises(DependencyDown):
        Database("postgresql+psycopg://nobody@127.0.0.1:1/none").ping()


def test_settings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("MULTAV_LEASE_SECONDS", "7")
    monkeypatch.setenv("MULTAV_LEESE_SECONDS", "8")
    monkeypatch.setenv("MULTAV_DATABASE_URL", "postgres://me@host/db")
    with caplog.at_level(logging.WARNING):
        settings = load_settings()
    assert settings.lease_seconds == 7
    assert settings.database == "postgresql+psycopg://me@host/db"
    assert "MULTAV_LEESE_SECONDS" in caplog.text
    assert all(field.description for field in Settings.model_fields.values())
    secret = Settings(broker_url=SecretStr("redis://:hidden@host/0"))
    assert "hidden" not in repr(secret)
    for name, value in secret.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == secret


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:1/0"])
def test_a_message_that_cannot_be_sent_is_given_up_at_once(url: str) -> None:
    queue = Queue(Settings(broker_url=SecretStr(url)))
    started = time.monotonic()
    assert queue.nudge("job", "attack") is False
    assert queue.ping() is False
    assert queue.length("attack") is None
    assert time.monotonic() - started < 6
    queue.close()
