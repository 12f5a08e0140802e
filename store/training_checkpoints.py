"""Where trainings go on: the last checkpoint of each, then what it will say once all of its files are kept."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from multav.errors import NotFound
from store import blobs, jobs
from store.blobs import Blob
from store.database import now
from store.jobs import Claim
from store.tables import TrainingCheckpointTable


@dataclass(frozen=True)
class TrainingCheckpoint:
    """A training as it was at `step`: its bytes (`blob_id`), or its `result` when it was done. Seconds since 1970."""

    step: int
    blob_id: str | None
    result: dict[str, Any] | None
    written_at: float


def keep(session: Session, claim: Claim, blob: Blob, *, step: int, max_attempts: int) -> None:
    """Let the training go on from `blob`, and let an older checkpoint go, all or nothing.

    The job may be started `max_attempts` times from now on. Raises `ClaimLost` for whoever does not hold the job, and
    `NotFound` when the bytes have been collected meanwhile.
    """
    jobs.advance(session, claim, max_attempts=max_attempts)
    _replace(session, claim.job_id, step=step, blob_id=blobs.get(session, blob.id).id, result=None)


def finish(session: Session, claim: Claim, *, step: int, result: dict[str, Any]) -> None:
    """Note that the training is done: from here on only its files are missing. Raises `ClaimLost`."""
    jobs.advance(session, claim)
    _replace(session, claim.job_id, step=step, blob_id=None, result=result)


def find(session: Session, job_id: str) -> TrainingCheckpoint | None:
    """Where the training goes on; None at its beginning."""
    row = session.get(TrainingCheckpointTable, job_id, populate_existing=True)
    return None if row is None else TrainingCheckpoint(row.step, row.blob_id, row.result, row.written_at)


def get(session: Session, job_id: str) -> TrainingCheckpoint:
    """Where the training goes on. Raises `NotFound`."""
    found = find(session, job_id)
    if found is None:
        raise NotFound(f"job {job_id} has kept no checkpoint yet")
    return found


def _replace(session: Session, job_id: str, **values: Any) -> None:
    table = TrainingCheckpointTable
    older = session.scalar(select(table.blob_id).where(table.job_id == job_id))
    session.execute(delete(table).where(table.job_id == job_id))
    session.execute(insert(table).values(job_id=job_id, written_at=now(), **values))
    if older is not None and older != values["blob_id"]:
        blobs.let_go(session, older)
