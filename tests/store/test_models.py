"""Models come, are used and go; nobody sees half of one, and no job loses the one it names."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from sqlalchemy import text

from multav.errors import Conflict, InvalidSpec, NotFound
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from store import blobs, idempotency, jobs, models
from store.database import Database, migrate

CARD = ModelCard(
    name="tiny",
    architecture="resnet3d",
    classes=("a", "b"),
    geometry=InputGeometry(frames=4, stride=1, short_side=32, height=32, width=32),
)


def added(
    database: Database, content: bytes = b"weights", upload_hash: str = "u", **card: str
) -> models.RegisteredModel:
    blob = blobs.write(database, BytesIO(content))
    with database.write() as session:
        model, _ = models.add(session, CARD.model_copy(update=card), blob, upload_hash=upload_hash)
    return model


def queued(database: Database, model: str) -> str:
    with database.write() as session:
        return jobs.create(session, kind="attack", spec={}, uses=[("model", model)]).id


def test_an_upload_is_registered_once_and_takes_no_ones_place(database: Database) -> None:
    first = added(database)
    assert (first.name, first.origin, first.bytes) == ("tiny", "uploaded", 7)
    assert added(database) == first
    with pytest.raises(Conflict, match=r"another `name` or `version`"):
        added(database, b"other weights", "v")
    second = added(database, b"other weights", "v", version="2")
    assert second.name == "tiny@2"
    with database.read() as session:
        assert models.uploaded_as(session, "v") == second
        assert models.uploaded_as(session, "w") is None
        assert models.with_sha256(session, first.sha256) == first
        assert models.listed(session).items == (second, first)


def test_a_name_that_no_model_can_have(database: Database) -> None:
    with database.read() as session:
        for name in ("a\0b", "", "../etc", "x" * 5000):
            assert models.find(session, name) is None
            with pytest.raises(NotFound):
                models.get(session, name)


def test_a_name_has_an_end(database: Database) -> None:
    added(database, name="n" * 100)
    with pytest.raises(InvalidSpec) as refused:
        added(database, name="n" * 99, version="2")
    assert refused.value.errors[0]["pointer"] == "/name"


def test_what_the_operator_declares_replaces_itself_and_nothing_else(database: Database) -> None:
    def declare(sha256: str, origin: models.Origin) -> models.RegisteredModel:
        with database.write() as session:
            return models.declare(session, CARD, sha256=sha256, blob=None, origin=origin)

    first = declare("1" * 64, "own")
    assert (first.bytes, first.blob_id) == (None, None)
    assert declare("1" * 64, "own") == first
    assert declare("2" * 64, "own").sha256 == "2" * 64
    with pytest.raises(Conflict, match="another origin"):
        declare("3" * 64, "folder")
    with database.read() as session:
        assert [model.sha256 for model in models.listed(session).items] == ["2" * 64]


def test_a_model_goes_when_no_job_uses_it(database: Database) -> None:
    model = added(database)
    job_id = queued(database, "tiny")

    def refuse_removal() -> None:
        with pytest.raises(Conflict, match="1 job that waits or runs"), database.write() as session:
            models.remove(session, "tiny")

    refuse_removal()
    with database.write() as session:
        claim = jobs.claim(session, job_id, "w", 60)
    refuse_removal()
    assert claim is not None
    with database.write() as session:
        jobs.succeed(session, claim, {"done": True})
        assert idempotency.remember(session, "k", "POST /v1/models", "d", models.subject_of("tiny"))
    with database.write() as session:
        models.remove(session, "tiny")
    with database.read() as session:
        assert jobs.get(session, job_id).result == {"done": True}
        assert idempotency.answered(session, "k", "POST /v1/models", "d") is None
        with pytest.raises(NotFound):
            models.get(session, "tiny")
    with pytest.raises(NotFound), database.write() as session:
        models.remove(session, "tiny")
    # The bytes go with the last thing that refers to them.
    assert model.blob_id is not None
    assert blobs.collect(database, older_than_seconds=-1) == 1


def test_shipped_models_stay(database: Database) -> None:
    model, *_ = models.register_shipped(database)
    with pytest.raises(Conflict, match="comes with the code"), database.write() as session:
        models.remove(session, model.name)


def test_a_job_that_is_being_posted_keeps_its_model(database: Database) -> None:
    """The deleter comes while the poster has looked but not yet written: it must wait, and then see the job."""
    added(database)
    looked = threading.Event()

    def post() -> None:
        with database.write() as session:
            models.hold(session, "tiny")
            looked.set()
            time.sleep(0.5)
            jobs.create(session, kind="attack", spec={}, uses=[("model", "tiny")])

    with ThreadPoolExecutor(1) as pool:
        posted = pool.submit(post)
        assert looked.wait(10)
        with pytest.raises(Conflict, match="1 job"), database.write() as session:
            models.remove(session, "tiny")
        posted.result()
    with database.read() as session:
        assert models.get(session, "tiny")


def test_of_uploads_at_once_one_gets_the_name(database: Database) -> None:
    def upload(number: int) -> str:
        try:
            return added(database, b"weights %d" % number, str(number)).sha256
        except Conflict:
            return ""

    with ThreadPoolExecutor(6) as pool:
        assert sum(bool(sha256) for sha256 in pool.map(upload, range(6))) == 1


def test_the_same_upload_at_once_is_one_model_whatever_its_bytes(database: Database) -> None:
    """Bytes that were made twice of one file may differ, as the time that trying it took."""

    def upload(number: int) -> str:
        return added(database, b"weights %d" % number, "same").sha256

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(upload, range(6)))) == 1


def test_models_of_the_first_schema_keep_their_bytes(empty_url: str) -> None:
    migrate(empty_url)
    database = Database(empty_url)
    shipped = models.register_shipped(database)
    with database.write() as session:
        models.declare(
            session, CARD.model_copy(update={"name": "own"}), sha256="0" * 64, blob=None, origin="own"
        )
    migrate(empty_url, "-4")
    with database.read() as session:
        found = {(row.name, row.blob_id) for row in session.execute(text("SELECT name, blob_id FROM models"))}
        assert found == {(model.name, model.blob_id) for model in shipped}
    migrate(empty_url)
    with database.read() as session:
        assert [models.get(session, model.name) for model in shipped] == shipped
    database.close()
