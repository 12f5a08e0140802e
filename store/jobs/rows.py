"""What is known of jobs: reading their rows. `store.jobs` changes them."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from multav.errors import NotFound
from store.database import now
from store.paging import Page, page
from store.tables import JobEventTable, JobTable, JobUseTable

NORMAL: Final = 1
"""The priority of a job that says nothing of it."""

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINISHED: Final = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class Job:
    """A job as it was when it was read. Times are seconds since 1970.

    A part of another job has a `parent_id`; nobody outside sees it.
    """

    id: str
    kind: str
    state: JobState
    version: int
    spec: dict[str, Any]
    video_id: str | None
    attempt: int
    max_attempts: int
    owner: str | None
    cancel_requested: bool
    done: int | None
    total: int | None
    unit: str | None
    eta_seconds: float | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    result: dict[str, Any] | None
    problem: dict[str, Any] | None
    parent_id: str | None = None
    priority: int = NORMAL
    paused: bool = False

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self.state in FINISHED


@dataclass(frozen=True)
class JobEvent:
    """A transition: the state it led to, why, and the version of the row that it made."""

    job_id: str
    version: int
    state: JobState
    cause: str
    attempt: int
    at: float


def get(session: Session, job_id: str) -> Job:
    """The job. Raises `NotFound`."""
    row = session.get(JobTable, job_id, populate_existing=True)
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    return value(row)


def listed(
    session: Session,
    *,
    state: str | None = None,
    kind: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Job]:
    """Jobs, newest first, of one state or kind if asked."""
    query = select(JobTable).where(JobTable.parent_id.is_(None))
    if state is not None:
        query = query.where(JobTable.state == state)
    if kind is not None:
        query = query.where(JobTable.kind == kind)
    return page(
        session,
        query,
        (JobTable.created_at, JobTable.id),
        limit=limit,
        cursor=cursor,
        key=lambda row: (row.created_at, row.id),
        value=value,
    )


def count(session: Session, state: JobState) -> int:
    """How many jobs are in `state`; parts of others do not count."""
    there = select(func.count()).where(JobTable.state == state, JobTable.parent_id.is_(None))
    return session.scalar(there) or 0


def count_unfinished(session: Session, thing: Literal["model", "dataset"], name: str) -> int:
    """How many jobs wait or run that use the model or dataset of that name."""
    users = select(JobUseTable.job_id).where(JobUseTable.thing == thing, JobUseTable.name == name)
    using = select(func.count()).where(JobTable.id.in_(users), JobTable.state.not_in(FINISHED))
    return session.scalar(using) or 0


def parts(session: Session, parent_id: str) -> list[Job]:
    """The parts of a job, in order."""
    rows = session.scalars(
        select(JobTable).where(JobTable.parent_id == parent_id).order_by(JobTable.place, JobTable.id)
    )
    return [value(row) for row in rows]


def waiting(session: Session, job_id: str, limit: int) -> dict[str, str]:
    """Of the job and its parts those that wait for a worker, at most `limit`: their kinds by id, in order."""
    rows = session.execute(
        select(JobTable.id, JobTable.kind)
        .where(or_(JobTable.id == job_id, JobTable.parent_id == job_id), JobTable.state == "queued")
        .order_by(JobTable.parent_id.is_not(None), JobTable.place, JobTable.id)
        .limit(limit)
    )
    return {row.id: row.kind for row in rows}


def events_after(session: Session, job_id: str, version: int) -> list[JobEvent]:
    """The job's transitions that made a version above `version`, in order."""
    rows = session.scalars(
        select(JobEventTable)
        .where(JobEventTable.job_id == job_id, JobEventTable.version > version)
        .order_by(JobEventTable.version)
    )
    return [JobEvent(row.job_id, row.version, row.state, row.cause, row.attempt, row.at) for row in rows]  # type: ignore[arg-type]


def hurried(session: Session, *, after_seconds: float) -> int:
    """How many attacks have waited for so long."""
    waiting = select(func.count()).where(
        JobTable.kind == "attack",
        JobTable.state == "queued",
        JobTable.created_at < now() - after_seconds,
        ~is_paused(),
    )
    return session.scalar(waiting) or 0


def oldest_waiting_seconds(session: Session) -> float | None:
    """For how long the oldest queued job has waited since it entered the queue; None when none waits."""
    entered = (
        select(func.max(JobEventTable.at))
        .where(JobEventTable.job_id == JobTable.id, JobEventTable.state == "queued")
        .scalar_subquery()
    )
    return session.scalar(select(func.max(now() - entered)).where(JobTable.state == "queued", ~is_paused()))


def is_paused() -> ColumnElement[bool]:
    """Whether the job, or the job that it is a part of, is to rest."""
    parent = aliased(JobTable)
    rests = select(parent.id).where(parent.id == JobTable.parent_id, parent.paused_at.is_not(None))
    return or_(JobTable.paused_at.is_not(None), rests.correlate(JobTable).exists())


def value(row: JobTable) -> Job:
    """A row as a job."""
    return Job(
        id=row.id,
        kind=row.kind,
        state=row.state,  # type: ignore[arg-type]
        version=row.version,
        spec=row.spec,
        video_id=row.video_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        owner=row.owner,
        cancel_requested=row.cancel_requested_at is not None,
        done=row.progress_done,
        total=row.progress_total,
        unit=row.progress_unit,
        eta_seconds=row.progress_eta,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        result=row.result,
        problem=row.problem,
        parent_id=row.parent_id,
        priority=row.priority,
        paused=row.paused_at is not None,
    )
