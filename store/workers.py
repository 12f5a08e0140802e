"""Signs of life of the worker processes."""

from dataclasses import dataclass

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from store.database import now
from store.tables import WorkerTable

_FORGOTTEN_AFTER = 3600.0


@dataclass(frozen=True)
class Worker:
    """A worker process, the job that it runs, and for how long it has been idle (None while it works)."""

    id: str
    device: str
    job_id: str | None
    seen_seconds_ago: float
    idle_seconds: float | None


def beat(session: Session, worker_id: str, *, device: str, job_id: str | None) -> None:
    """Note that the worker is alive, and what it runs."""
    idle_since = (
        None
        if job_id is not None
        else case((WorkerTable.idle_since.is_(None), now()), else_=WorkerTable.idle_since)
    )
    seen = session.execute(
        update(WorkerTable)
        .where(WorkerTable.id == worker_id)
        .values(device=device, job_id=job_id, seen_at=now(), idle_since=idle_since)
        .execution_options(synchronize_session=False)
    )
    if not seen.rowcount:  # type: ignore[attr-defined]
        session.execute(
            insert(WorkerTable).values(
                id=worker_id,
                device=device,
                job_id=job_id,
                started_at=now(),
                seen_at=now(),
                idle_since=None if job_id is not None else now(),
            )
        )


def alive(session: Session, *, within_seconds: float) -> list[Worker]:
    """The workers that gave a sign of life within the last seconds."""
    rows = session.execute(
        select(
            WorkerTable.id,
            WorkerTable.device,
            WorkerTable.job_id,
            now() - WorkerTable.seen_at,
            now() - WorkerTable.idle_since,
        )
        .where(WorkerTable.seen_at >= now() - within_seconds)
        .order_by(WorkerTable.id)
    )
    return [Worker(*row) for row in rows]


def idle(session: Session, *, within_seconds: float) -> int:
    """How many workers wait for work, of those that gave a sign of life within the last seconds."""
    there = select(func.count()).where(
        WorkerTable.idle_since.is_not(None), WorkerTable.seen_at >= now() - within_seconds
    )
    return session.scalar(there) or 0


def leave(session: Session, worker_id: str) -> None:
    """Take the worker off the list."""
    session.execute(delete(WorkerTable).where(WorkerTable.id == worker_id))


def forget_old(session: Session) -> None:
    """Take workers off the list that have long been silent."""
    session.execute(delete(WorkerTable).where(WorkerTable.seen_at < now() - _FORGOTTEN_AFTER))
