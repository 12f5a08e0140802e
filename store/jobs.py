"""The life of a job. Its state changes here and nowhere else.

                    ┌────────────── c, f ─────────────┐
                    ▼                                 │
    create ──a──► queued ──b──► running ──d──► succeeded
                    │             │  ├────e──► failed
                    └──g──► cancelled ◄──h────┘

    a  create             the row is written; the message comes after the commit
    b  claim              one worker wins: attempt + 1, owner and lease are set
    c  release            the worker shuts down: back to the queue, the attempt does not count
    d  succeed, e fail    the worker ends its attempt
    f  sweep              the lease ran out: back to the queue, or failed (worker_lost) after the last attempt
    g  request_cancel     of a queued job: cancelled at once
    h  confirm_cancel     the worker has seen the flag that request_cancel left (or its lease ran out meanwhile)

Every transition is one UPDATE that names the state it may leave; a worker's writes name its attempt and itself
as well, so that a worker which was given up cannot overwrite what its successor does. Every change of a row
makes a new `version`; every transition leaves an event.
"""

import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import case, delete, func, insert, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from multav.errors import Conflict, NotFound, WorkerLost
from store.database import now
from store.paging import Page, page
from store.tables import ArtifactTable, JobEventTable, JobTable

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINISHED: Final = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class Job:
    """A job as it was when it was read. Times are seconds since 1970."""

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


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt of a job. Every write of a worker shows it."""

    job_id: str
    attempt: int
    owner: str


class ClaimLost(Exception):
    """The claim is no longer valid: the job was given to somebody else, or has ended. Stop and write nothing."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep did: ids of jobs put back, failed and cancelled, and of queued jobs that need a message."""

    requeued: tuple[str, ...]
    failed: tuple[str, ...]
    cancelled: tuple[str, ...]
    to_nudge: tuple[str, ...]


def create(
    session: Session,
    *,
    kind: str,
    spec: dict[str, Any],
    video_id: str | None = None,
    model_name: str | None = None,
    max_attempts: int = 3,
) -> Job:
    """A new queued job. The caller commits, and only then sends the message."""
    job_id = uuid.uuid4().hex
    session.execute(
        insert(JobTable).values(
            id=job_id,
            kind=kind,
            state="queued",
            version=1,
            spec=spec,
            video_id=video_id,
            model_name=model_name,
            attempt=0,
            max_attempts=max_attempts,
            nudged_at=now(),
            created_at=now(),
        )
    )
    _record(session, job_id, "created")
    return get(session, job_id)


def get(session: Session, job_id: str) -> Job:
    """The job. Raises `NotFound`."""
    row = session.get(JobTable, job_id, populate_existing=True)
    if row is None:
        raise NotFound(f"there is no job {job_id!r}")
    return _value(row)


def listed(
    session: Session,
    *,
    state: str | None = None,
    kind: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Job]:
    """Jobs, newest first, of one state or kind if asked."""
    query = select(JobTable)
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
        value=_value,
    )


def count(session: Session, state: JobState) -> int:
    """How many jobs are in `state`."""
    return session.scalar(select(func.count()).select_from(JobTable).where(JobTable.state == state)) or 0


def count_unfinished(session: Session, model_name: str) -> int:
    """How many jobs wait or run that use the model."""
    using = select(func.count()).where(JobTable.model_name == model_name, JobTable.state.not_in(FINISHED))
    return session.scalar(using) or 0


def events_after(session: Session, job_id: str, version: int) -> list[JobEvent]:
    """The job's transitions that made a version above `version`, in order."""
    rows = session.scalars(
        select(JobEventTable)
        .where(JobEventTable.job_id == job_id, JobEventTable.version > version)
        .order_by(JobEventTable.version)
    )
    return [JobEvent(row.job_id, row.version, row.state, row.cause, row.attempt, row.at) for row in rows]  # type: ignore[arg-type]


def claim(session: Session, job_id: str, owner: str, lease_seconds: float) -> Claim | None:
    """Take a queued job, if nobody else was faster. None when it is not queued any more (or never was)."""
    moved = _move(
        session,
        [JobTable.id == job_id, JobTable.state == "queued", JobTable.cancel_requested_at.is_(None)],
        state="running",
        attempt=JobTable.attempt + 1,
        owner=owner,
        lease_until=now() + lease_seconds,
        started_at=func.coalesce(JobTable.started_at, now()),
        progress_done=None,
        progress_total=None,
        progress_unit=None,
        progress_eta=None,
    )
    if not moved:
        return None
    _record(session, job_id, "claimed")
    return Claim(job_id, get(session, job_id).attempt, owner)


def heartbeat(session: Session, claim: Claim, lease_seconds: float) -> bool:
    """Prolong the lease; whether a cancel was requested. Raises `ClaimLost`.

    The version stays: nothing that a reader sees has changed.
    """
    beat = session.execute(
        update(JobTable)
        .where(*_held(claim))
        .values(lease_until=now() + lease_seconds)
        .execution_options(synchronize_session=False)
    )
    if not _rows(beat):
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    return cancel_requested(session, claim)


def cancel_requested(session: Session, claim: Claim) -> bool:
    """Whether somebody asked to cancel the running job. Raises `ClaimLost`."""
    found = session.execute(select(JobTable.cancel_requested_at).where(*_held(claim))).one_or_none()
    if found is None:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    return found[0] is not None


def report_progress(
    session: Session, claim: Claim, *, done: int, total: int, unit: str, eta_seconds: float | None
) -> None:
    """Note how far the attempt has come; `done` never goes back. Raises `ClaimLost`."""
    noted = _move(
        session,
        _held(claim),
        progress_done=case((JobTable.progress_done > done, JobTable.progress_done), else_=done),
        progress_total=total,
        progress_unit=unit,
        progress_eta=eta_seconds,
    )
    if not noted:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")


def succeed(session: Session, claim: Claim, result: dict[str, Any]) -> None:
    """End the attempt with a result. Raises `ClaimLost`."""
    _end(
        session,
        claim,
        "succeeded",
        "finished",
        result=result,
        progress_eta=0.0,
        progress_done=JobTable.progress_total,
    )


def fail(session: Session, claim: Claim, problem: dict[str, Any]) -> None:
    """End the attempt with a problem object. Raises `ClaimLost`."""
    _end(session, claim, "failed", str(problem.get("code", "failed")), problem=problem, progress_eta=None)


def confirm_cancel(session: Session, claim: Claim) -> None:
    """End the attempt because a cancel was requested. Raises `ClaimLost`."""
    _end(session, claim, "cancelled", "cancelled", progress_eta=None)


def release(session: Session, claim: Claim) -> None:
    """Put the job back because its worker shuts down; the attempt does not count. Raises `ClaimLost`.

    A job that is to be cancelled is cancelled instead.
    """
    if cancel_requested(session, claim):
        confirm_cancel(session, claim)
        return
    moved = _move(
        session,
        _held(claim),
        state="queued",
        attempt=JobTable.attempt - 1,
        owner=None,
        lease_until=None,
        # Not nudged: the sweeper, or the releasing worker itself, publishes it at once.
        nudged_at=None,
    )
    if not moved:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    # The attempt's number is used again: what it left behind must not be taken for the next one's.
    session.execute(
        delete(ArtifactTable).where(
            ArtifactTable.job_id == claim.job_id, ArtifactTable.attempt == claim.attempt
        )
    )
    _record(session, claim.job_id, "released")


def request_cancel(session: Session, job_id: str) -> Job:
    """Ask for the job to stop: a queued one is cancelled at once, a running one is flagged, an ended one is left.

    Asking twice does no harm. Raises `NotFound`.
    """
    if _move(
        session,
        [JobTable.id == job_id, JobTable.state == "queued"],
        state="cancelled",
        cancel_requested_at=now(),
        finished_at=now(),
    ):
        _record(session, job_id, "cancelled")
    elif _move(
        session,
        [JobTable.id == job_id, JobTable.state == "running", JobTable.cancel_requested_at.is_(None)],
        cancel_requested_at=now(),
    ):
        _record(session, job_id, "cancel_requested")
    return get(session, job_id)


def remove(session: Session, job_id: str) -> None:
    """Delete a finished job with its artifacts, and its video unless that was kept or another job needs it.

    Raises `NotFound`, and `Conflict` while the job is not finished.
    """
    from store import idempotency, videos  # a video knows its jobs, and a job its video

    job = get(session, job_id)
    gone = session.execute(delete(JobTable).where(JobTable.id == job_id, JobTable.state.in_(FINISHED)))
    if not _rows(gone):
        raise Conflict(f"job {job_id} is {job.state}: cancel it, and delete it once it has ended")
    session.execute(delete(ArtifactTable).where(ArtifactTable.job_id == job_id))
    session.execute(delete(JobEventTable).where(JobEventTable.job_id == job_id))
    idempotency.forget(session, job_id)
    if job.video_id is not None:
        videos.remove_unless_needed(session, job.video_id)


def sweep(session: Session, *, nudge_seconds: float, limit: int = 200) -> Sweep:
    """Repair what dead processes left: expired leases, and queued jobs whose message may be lost.

    Any number of sweepers may run at once; each job is moved by one of them.
    """
    expired = session.execute(
        select(
            JobTable.id, JobTable.attempt, JobTable.max_attempts, JobTable.cancel_requested_at, JobTable.owner
        )
        .where(JobTable.state == "running", JobTable.lease_until < now())
        .limit(limit)
    ).all()
    outcome: dict[str, list[str]] = {"queued": [], "failed": [], "cancelled": []}
    for job_id, attempt, most, cancelled, owner in expired:
        held = [*_held(Claim(job_id, attempt, str(owner))), JobTable.lease_until < now()]
        state: JobState = "cancelled" if cancelled is not None else "queued" if attempt < most else "failed"
        values: dict[str, Any] = {"owner": None, "lease_until": None, "nudged_at": None, "progress_eta": None}
        if state != "queued":
            values["finished_at"] = now()
        if state == "failed":
            lost = WorkerLost(
                f"the worker running this job was lost {attempt} times: the job may need more memory than a worker "
                "has, or a worker keeps dying; its log says more"
            )
            values["problem"] = lost.problem()
        if _move(session, held, state=state, **values):
            _record(session, job_id, "cancelled" if cancelled is not None else "worker_lost")
            outcome[state].append(job_id)
    waiting = session.scalars(
        select(JobTable.id)
        .where(
            JobTable.state == "queued",
            or_(JobTable.nudged_at.is_(None), JobTable.nudged_at < now() - nudge_seconds),
        )
        .order_by(JobTable.created_at)
        .limit(limit)
    ).all()
    return Sweep(
        tuple(outcome["queued"]), tuple(outcome["failed"]), tuple(outcome["cancelled"]), tuple(waiting)
    )


def mark_nudged(session: Session, job_ids: list[str] | tuple[str, ...]) -> None:
    """Note that a message was sent for each of the jobs."""
    session.execute(
        update(JobTable)
        .where(JobTable.id.in_(job_ids), JobTable.state == "queued")
        .values(nudged_at=now())
        .execution_options(synchronize_session=False)
    )


def oldest_waiting_seconds(session: Session) -> float | None:
    """For how long the oldest queued job has waited since it entered the queue; None when none waits."""
    entered = (
        select(func.max(JobEventTable.at))
        .where(JobEventTable.job_id == JobTable.id, JobEventTable.state == "queued")
        .scalar_subquery()
    )
    return session.scalar(select(func.max(now() - entered)).where(JobTable.state == "queued"))


def _end(session: Session, claim: Claim, state: JobState, cause: str, **values: Any) -> None:
    """One of the three endings of a running attempt."""
    if not _move(
        session, _held(claim), state=state, owner=None, lease_until=None, finished_at=now(), **values
    ):
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    _record(session, claim.job_id, cause)


def _held(claim: Claim) -> list[ColumnElement[bool]]:
    """The job is running, and by this very claim."""
    return [
        JobTable.id == claim.job_id,
        JobTable.state == "running",
        JobTable.attempt == claim.attempt,
        JobTable.owner == claim.owner,
    ]


def _move(session: Session, conditions: list[ColumnElement[bool]], **values: Any) -> bool:
    """The guarded UPDATE behind every change: whether the row was there in the state that `conditions` name."""
    moved = session.execute(
        update(JobTable)
        .where(*conditions)
        .values(version=JobTable.version + 1, **values)
        .execution_options(synchronize_session=False)
    )
    return _rows(moved) == 1


def _record(session: Session, job_id: str, cause: str) -> None:
    """The event of the transition that was just made."""
    columns = ("job_id", "version", "state", "cause", "attempt", "at")
    made = select(
        JobTable.id, JobTable.version, JobTable.state, _literal(cause), JobTable.attempt, now()
    ).where(JobTable.id == job_id)
    session.execute(insert(JobEventTable).from_select(columns, made))


def _literal(word: str) -> ColumnElement[str]:
    from sqlalchemy import String, literal

    return literal(word[:32], String(32))


def _rows(result: Any) -> int:
    assert isinstance(result, CursorResult), "UPDATE and DELETE give cursor results"
    return result.rowcount


def _value(row: JobTable) -> Job:
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
    )
