"""Curves and checkpoints of trainings, on both databases: kept by who holds the job, once, and gone with it."""

from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import func, select, update

from multav.errors import Conflict, InvalidSpec, NotFound
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.training.curve import CurvePoint
from store import blobs, jobs, models, training_checkpoints, training_points
from store.blobs import Blob
from store.database import Database, now
from store.jobs import Claim, ClaimLost
from store.tables import BlobChunkTable, BlobTable, JobTable, TrainingCheckpointTable, TrainingPointTable


def do(database: Database, transition: Any, *arguments: Any, **named: Any) -> Any:
    with database.write() as session:
        return transition(session, *arguments, **named)


def training(database: Database) -> Claim:
    """A training that a worker holds."""
    job = do(database, jobs.create, kind="training", spec={}, max_attempts=2)
    held = do(database, jobs.claim, job.id, "w", 60)
    assert held is not None
    return held  # type: ignore[no-any-return]


def lose(database: Database, claim: Claim) -> jobs.Sweep:
    """The worker dies, and somebody notices."""
    with database.write() as session:
        session.execute(update(JobTable).where(JobTable.id == claim.job_id).values(lease_until=now() - 1))
    with database.write() as session:
        return jobs.sweep(session, nudge_seconds=60)


def step(number: int, **values: Any) -> CurvePoint:
    return CurvePoint("step", number, epoch=number / 10, **{"loss": 2.0, **values})


def listed(database: Database, job_id: str, **how: Any) -> Any:
    with database.read() as session:
        return training_points.listed(session, job_id, **how)


def written(database: Database, content: bytes, *, long_ago: bool = True) -> Blob:
    blob = blobs.write(database, BytesIO(content))
    if long_ago:
        with database.write() as session:
            session.execute(update(BlobTable).where(BlobTable.id == blob.id).values(touched_at=now() - 100))
    return blob


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_points_come_in_the_order_in_which_they_were_noted(database: Database) -> None:
    claim = training(database)
    first = listed(database, claim.job_id)
    assert first.items == ()
    look = CurvePoint("look", 10, 1.0, clean_accuracy=0.5, robust_accuracy=0.25, best=True)
    for point in (step(10), look, step(20, learning_rate=1e-3)):
        do(database, training_points.add, claim, point)
    page = listed(database, claim.job_id, limit=2)
    assert page.items == (step(10), look)
    assert listed(database, claim.job_id, limit=2, cursor=first.next_cursor) == page, (
        "also from the very beginning"
    )
    rest = listed(database, claim.job_id, cursor=page.next_cursor)
    assert rest.items == (step(20, learning_rate=1e-3),)
    assert listed(database, claim.job_id, series="look").items == (look,)
    do(database, training_points.add, claim, step(30))
    later = listed(database, claim.job_id, cursor=rest.next_cursor)
    assert later.items == (step(30),)
    nothing = listed(database, claim.job_id, cursor=later.next_cursor)
    assert (nothing.items, nothing.next_cursor) == ((), later.next_cursor)
    with database.read() as session:
        assert training_points.every(session, claim.job_id) == [
            look,
            step(10),
            step(20, learning_rate=1e-3),
            step(30),
        ]
    for cursor in ("x", "1.2", "9" * 30, "-1", "²"):
        with pytest.raises(InvalidSpec):
            listed(database, claim.job_id, cursor=cursor)


def test_a_point_that_is_sent_again_is_one_point(database: Database) -> None:
    claim = training(database)
    for point in (step(10, waiting=0.1), step(20), step(30)):
        do(database, training_points.add, claim, point)
    with database.read() as session:
        seen = jobs.get(session, claim.job_id).version
    do(database, training_points.add, claim, step(10, waiting=0.7))
    with database.read() as session:
        assert training_points.after(session, claim.job_id, seen, limit=10) == [], "nobody hears it twice"
    do(database, training_points.add, claim, step(20, loss=1.5))
    with database.read() as session:
        news = training_points.after(session, claim.job_id, seen, limit=10)
    assert [point for _, point in news] == [step(20, loss=1.5)], "what differs is news"
    assert listed(database, claim.job_id).items == (step(10, waiting=0.1), step(30), step(20, loss=1.5))


def test_who_follows_hears_each_point_once(database: Database) -> None:
    claim = training(database)
    for number in range(5):
        do(database, training_points.add, claim, step(number))
    with database.read() as session:
        whole = training_points.after(session, claim.job_id, 0, limit=100)
        first = training_points.after(session, claim.job_id, 0, limit=2)
        rest = training_points.after(session, claim.job_id, first[-1][0], limit=100)
        early = training_points.after(session, claim.job_id, 0, up_to=whole[2][0], limit=100)
    assert [point.step for _, point in whole] == [0, 1, 2, 3, 4]
    assert first + rest == whole
    assert early == whole[:3]
    assert len({version for version, _ in whole}) == 5, (
        "a stream that breaks between two points goes on there"
    )


def test_only_who_holds_the_job_notes_anything(database: Database) -> None:
    dead = training(database)
    blob = written(database, b"weights")
    assert lose(database, dead).requeued == (dead.job_id,)
    with pytest.raises(ClaimLost):
        do(database, training_points.add, dead, step(1))
    with pytest.raises(ClaimLost):
        do(database, training_checkpoints.keep, dead, blob, step=1, max_attempts=2)
    alive = do(database, jobs.claim, dead.job_id, "other", 60)
    for transition in (
        lambda: do(database, training_points.add, dead, step(1)),
        lambda: do(database, training_checkpoints.keep, dead, blob, step=1, max_attempts=2),
        lambda: do(database, training_checkpoints.finish, dead, step=1, result={}),
    ):
        with pytest.raises(ClaimLost):
            transition()
    do(database, training_checkpoints.keep, alive, blob, step=1, max_attempts=2)
    assert count(database, TrainingPointTable) == 0
    with database.read() as session:
        assert training_checkpoints.get(session, dead.job_id).step == 1


def test_one_checkpoint_is_kept_and_the_older_goes(database: Database) -> None:
    claim = training(database)
    with database.read() as session:
        assert training_checkpoints.find(session, claim.job_id) is None
        with pytest.raises(NotFound):
            training_checkpoints.get(session, claim.job_id)
    first, second = (written(database, bytes([number]) * 3_000_000) for number in (1, 2))
    do(database, training_checkpoints.keep, claim, first, step=5, max_attempts=2)
    assert blobs.collect(database, older_than_seconds=50) == 1, "the second, which nobody refers to yet"
    second = written(database, bytes([2]) * 3_000_000)
    do(database, training_checkpoints.keep, claim, second, step=9, max_attempts=2)
    with database.read() as session:
        found = training_checkpoints.get(session, claim.job_id)
    assert (found.step, found.blob_id, found.result) == (9, second.id, None)
    assert (count(database, BlobTable), count(database, BlobChunkTable)) == (1, 3), "the older one is gone"
    # The same bytes again, as a training that was resumed may write them.
    do(database, training_checkpoints.keep, claim, second, step=9, max_attempts=2)
    assert b"".join(blobs.read(database, second.id)) == bytes([2]) * 3_000_000
    do(database, training_checkpoints.finish, claim, step=10, result={"model": "m"})
    with database.read() as session:
        done = training_checkpoints.get(session, claim.job_id)
    assert (done.step, done.blob_id, done.result) == (10, None, {"model": "m"})
    assert count(database, BlobTable) == 0


def test_a_checkpoint_that_is_soon_replaced_goes_moments_later(database: Database) -> None:
    """Not an hour: with a checkpoint every few seconds a disk would be full by then."""
    claim = training(database)
    first, second, third = (bytes([number]) * 1_000_000 for number in (1, 2, 3))
    for number, content in enumerate((first, second, third)):
        blob = written(database, content, long_ago=False)
        do(database, training_checkpoints.keep, claim, blob, step=number, max_attempts=2)
    assert blobs.collect(database, older_than_seconds=3600) == 0, (
        "somebody may have found them in this moment"
    )
    # Somebody has: of these bytes nobody knows any more that they were let go.
    found = blobs.write(database, BytesIO(second))
    with database.write() as session:
        session.execute(update(BlobTable).values(touched_at=now() - 100))
    assert blobs.collect(database, older_than_seconds=3600) == 1
    assert count(database, BlobTable) == 2
    for kept in (found, blob):
        assert len(b"".join(blobs.read(database, kept.id))) == 1_000_000


def test_bytes_that_others_need_stay(database: Database) -> None:
    one, other = training(database), training(database)
    shared = written(database, b"the same weights")
    for claim in (one, other):
        do(database, training_checkpoints.keep, claim, shared, step=1, max_attempts=2)
    later = written(database, b"later weights")
    do(database, training_checkpoints.keep, one, later, step=2, max_attempts=2)
    assert b"".join(blobs.read(database, shared.id)) == b"the same weights"
    # Somebody has found these bytes in this moment, and is about to refer to them.
    written(database, b"later weights", long_ago=False)
    do(database, training_checkpoints.finish, one, step=3, result={})
    assert b"".join(blobs.read(database, later.id)) == b"later weights"


def test_a_checkpoint_that_was_not_kept_changes_nothing(database: Database) -> None:
    claim = training(database)
    blob = written(database, b"first")
    do(database, training_checkpoints.keep, claim, blob, step=1, max_attempts=2)
    gone = written(database, b"gone")
    assert blobs.collect(database, older_than_seconds=50) == 1
    with pytest.raises(NotFound):
        do(database, training_checkpoints.keep, claim, gone, step=2, max_attempts=2)
    with database.read() as session:
        assert training_checkpoints.get(session, claim.job_id).blob_id == blob.id


def test_a_training_that_gets_on_does_not_use_its_attempts_up(database: Database) -> None:
    claim = training(database)
    for attempt in range(1, 6):
        blob = written(database, bytes([attempt]))
        do(database, training_checkpoints.keep, claim, blob, step=attempt, max_attempts=2)
        assert lose(database, claim).requeued == (claim.job_id,)
        claim = do(database, jobs.claim, claim.job_id, "w", 60)
        assert claim.attempt == attempt + 1
    # No checkpoint since the last death: that was the last attempt.
    assert lose(database, claim).failed == (claim.job_id,)


def test_all_of_it_goes_with_the_job(database: Database) -> None:
    claim = training(database)
    do(database, training_points.add, claim, step(1))
    do(database, training_checkpoints.keep, claim, written(database, b"x"), step=1, max_attempts=2)
    do(database, jobs.fail, claim, {"code": "training_diverged"})
    do(database, jobs.remove, claim.job_id)
    assert count(database, TrainingPointTable) == count(database, TrainingCheckpointTable) == 0
    assert blobs.collect(database, older_than_seconds=-1) == 1


def card(name: str) -> ModelCard:
    geometry = InputGeometry(frames=8, stride=1, short_side=32, height=32, width=32)
    return ModelCard(name=name, architecture="resnet3d", classes=("a", "b"), geometry=geometry)


def test_a_trained_model_is_registered_once_and_takes_nobodys_place(database: Database) -> None:
    blob = written(database, b"weights")
    model = do(database, models.add_trained, card("hardened"), blob)
    assert (model.name, model.origin, model.sha256) == ("hardened", "trained", blob.sha256)
    assert do(database, models.add_trained, card("hardened"), blob) == model
    with pytest.raises(Conflict):
        do(database, models.add_trained, card("hardened"), written(database, b"other weights"))
    do(database, models.add, card("uploaded"), blob, upload_hash="0" * 64)
    with pytest.raises(Conflict):
        do(database, models.add_trained, card("uploaded"), blob)
