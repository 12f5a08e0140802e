"""From the queue to an end: what a worker does to a job that it holds."""

import uuid
from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from store.database import now
from store.jobs.moves import Claim, ClaimLost, held, move, queued_row, record, rows_of
from store.jobs.rows import NORMAL, Job, JobState, get, is_paused
from store.tables import ArtifactTable, JobEventTable, JobTable, JobUseTable

Use = tuple[Literal["model", "dataset"], str]
"""What a job needs, and its name."""


def create(
    session: Session,
    *,
    kind: str,
    spec: dict[str, Any],
    video_id: str | None = None,
    uses: Iterable[Use] = (),
    priority: int = NORMAL,
    max_attempts: int = 3,
) -> Job:
    """A new queued job. The caller commits, and only then sends the message.

    What it `uses` stays registered until it has ended. Of two that wait for the same workers the one of the smaller
    `priority` goes first.
    """
    job_id = uuid.uuid4().hex
    session.execute(
        insert(JobTable).values(
            queued_row(job_id, kind, spec, priority=priority, max_attempts=max_attempts, video_id=video_id)
        )
    )
    for thing, name in dict.fromkeys(uses):
        session.execute(insert(JobUseTable).values(job_id=job_id, thing=thing, name=name))
    record(session, job_id, "created")
    return get(session, job_id)


def claim(session: Session, job_id: str, owner: str, lease_seconds: float) -> Claim | None:
    """Take a queued job, if nobody else was faster. None when it is not queued any more (or never was)."""
    moved = move(
        session,
        [
            JobTable.id == job_id,
            JobTable.state == "queued",
            JobTable.cancel_requested_at.is_(None),
            ~is_paused(),
        ],
        state="running",
        attempt=JobTable.attempt + 1,
        owner=owner,
        lease_until=now() + lease_seconds,
        started_at=func.coalesce(JobTable.started_at, now()),
    )
    if not moved:
        return None
    job = get(session, job_id)
    if not _was_split(session, job_id):
        # Only a job that was left to parts keeps what an earlier attempt did; parts may also run beside a job.
        move(
            session,
            [JobTable.id == job_id],
            progress_done=None,
            progress_total=None,
            progress_unit=None,
            progress_eta=None,
        )
    record(session, job_id, "claimed")
    return Claim(job_id, job.attempt, owner)


def _was_split(session: Session, job_id: str) -> bool:
    split = select(JobEventTable.version).where(
        JobEventTable.job_id == job_id, JobEventTable.cause == "split"
    )
    return session.scalar(split.limit(1)) is not None


def heartbeat(session: Session, claim: Claim, lease_seconds: float) -> bool:
    """Prolong the lease; whether a cancel was requested. Raises `ClaimLost`.

    The version stays: nothing that a reader sees has changed.
    """
    beat = session.execute(
        update(JobTable)
        .where(*held(claim))
        .values(lease_until=now() + lease_seconds)
        .execution_options(synchronize_session=False)
    )
    if not rows_of(beat):
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    return cancel_requested(session, claim)


def cancel_requested(session: Session, claim: Claim) -> bool:
    """Whether somebody asked to cancel the running job. Raises `ClaimLost`."""
    found = session.execute(select(JobTable.cancel_requested_at).where(*held(claim))).one_or_none()
    if found is None:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    return found[0] is not None


def report_progress(
    session: Session, claim: Claim, *, done: int, total: int, unit: str, eta_seconds: float | None
) -> None:
    """Note how far the attempt has come; `done` never goes back. Raises `ClaimLost`."""
    noted = move(
        session,
        held(claim),
        progress_done=case((JobTable.progress_done > done, JobTable.progress_done), else_=done),
        progress_total=total,
        progress_unit=unit,
        progress_eta=eta_seconds,
    )
    if not noted:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")


def advance(session: Session, claim: Claim, *, max_attempts: int | None = None) -> int:
    """Make a new version of the running job for what the same transaction keeps of it, and give that version.

    With `max_attempts` the job may be started so often from now on, this attempt being the first: what is kept is not
    lost with the worker, so that a long job does not use its attempts up. Raises `ClaimLost`.
    """
    values: dict[str, Any] = {"version": JobTable.version + 1}
    if max_attempts is not None:
        values["max_attempts"] = JobTable.attempt + max_attempts - 1
    version = session.scalar(
        update(JobTable)
        .where(*held(claim))
        .values(**values)
        .returning(JobTable.version)
        .execution_options(synchronize_session=False)
    )
    if version is None:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    return version


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
    # Not nudged: the sweeper, or the releasing worker itself, publishes it at once.
    _put_back(session, claim, "released", nudged_at=None)


def put_off(session: Session, claim: Claim, cause: str) -> None:
    """As `release`, because it cannot go on now: it is published again when a message would have been lost.

    `cause` is the event's. Raises `ClaimLost`.
    """
    _put_back(session, claim, cause, nudged_at=now())


def _put_back(session: Session, claim: Claim, cause: str, **values: Any) -> None:
    if cancel_requested(session, claim):
        confirm_cancel(session, claim)
        return
    moved = move(
        session,
        held(claim),
        state="queued",
        attempt=JobTable.attempt - 1,
        owner=None,
        lease_until=None,
        **values,
    )
    if not moved:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    # The attempt's number is used again: what it left behind must not be taken for the next one's.
    session.execute(
        delete(ArtifactTable).where(
            ArtifactTable.job_id == claim.job_id, ArtifactTable.attempt == claim.attempt
        )
    )
    record(session, claim.job_id, cause)


def _end(session: Session, claim: Claim, state: JobState, cause: str, **values: Any) -> None:
    """One of the three endings of a running attempt."""
    if not move(session, held(claim), state=state, owner=None, lease_until=None, finished_at=now(), **values):
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    record(session, claim.job_id, cause)
