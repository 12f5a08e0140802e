"""What people ask of a job: to stop, to rest, to go on, to be forgotten."""

from typing import Any, Literal

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from multav.errors import Conflict
from store.database import now
from store.jobs.moves import Claim, ClaimLost, held, move, move_parts, record, rows_of
from store.jobs.rows import FINISHED, Job, get, is_paused
from store.jobs.splitting import gather
from store.tables import ArtifactTable, JobEventTable, JobTable, JobUseTable

Wish = Literal["cancel", "rest"]


def wish(session: Session, claim: Claim) -> Wish | None:
    """What was asked of the running job: to end, or to rest, itself or the job that it is a part of.

    Raises `ClaimLost`.
    """
    asked = select(JobTable.cancel_requested_at.is_not(None), is_paused()).where(*held(claim))
    found = session.execute(asked).one_or_none()
    if found is None:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    cancelled, rests = found
    return "cancel" if cancelled else "rest" if rests else None


def request_cancel(session: Session, job_id: str) -> Job:
    """Ask for the job to stop: a queued one is cancelled at once, a running one is flagged, an ended one is left.

    Asking twice does no harm. Raises `NotFound`.
    """
    if move(
        session,
        [JobTable.id == job_id, JobTable.state == "queued"],
        state="cancelled",
        cancel_requested_at=now(),
        finished_at=now(),
    ):
        record(session, job_id, "cancelled")
    elif move(
        session,
        [JobTable.id == job_id, JobTable.state == "running", JobTable.cancel_requested_at.is_(None)],
        cancel_requested_at=now(),
    ):
        record(session, job_id, "cancel_requested")
        _cancel_parts(session, job_id)
        gather(session, job_id)
    return get(session, job_id)


def _cancel_parts(session: Session, job_id: str) -> None:
    """Cancel the parts that wait, and flag those that run."""
    move_parts(
        session,
        job_id,
        [JobTable.state == "queued"],
        "cancelled",
        state="cancelled",
        cancel_requested_at=now(),
        finished_at=now(),
    )
    unflagged = [JobTable.state == "running", JobTable.cancel_requested_at.is_(None)]
    move_parts(session, job_id, unflagged, "cancel_requested", cancel_requested_at=now())


def pause(session: Session, job_id: str) -> Job:
    """Let the job rest until it is resumed: it keeps its state, and what it has done. Raises `NotFound`, `Conflict`."""
    job = get(session, job_id)
    if move(
        session,
        [
            JobTable.id == job_id,
            JobTable.state.not_in(FINISHED),
            JobTable.paused_at.is_(None),
            JobTable.cancel_requested_at.is_(None),
        ],
        paused_at=now(),
        progress_eta=None,
    ):
        record(session, job_id, "paused")
    elif job.finished:
        raise Conflict(f"job {job_id} is {job.state}: there is nothing to pause")
    elif job.cancel_requested:
        raise Conflict(f"job {job_id} is being cancelled: it can be resumed when it has stopped")
    return get(session, job_id)


def resume(session: Session, job_id: str, *, more_attempts: int) -> Job:
    """Let a paused job go on, or run one again that failed or was cancelled: only what is missing is done.

    Raises `NotFound`, and `Conflict` for a job that has succeeded.
    """
    job = get(session, job_id)
    if job.state == "succeeded":
        raise Conflict(f"job {job_id} has succeeded: there is nothing left to do")
    if job.paused and move(
        session, [JobTable.id == job_id, JobTable.paused_at.is_not(None)], paused_at=None, nudged_at=None
    ):
        session.execute(
            update(JobTable)
            .where(JobTable.parent_id == job_id, JobTable.state == "queued")
            .values(nudged_at=None)
            .execution_options(synchronize_session=False)
        )
        record(session, job_id, "resumed")
    if job.finished:
        _revive(session, job, more_attempts)
    return get(session, job_id)


def _revive(session: Session, job: Job, more_attempts: int) -> None:
    """Queue a failed or cancelled job again, or leave it to those of its parts that have not succeeded."""
    again: dict[str, Any] = {
        "state": "queued",
        "problem": None,
        "finished_at": None,
        "cancel_requested_at": None,
        "nudged_at": None,
        # Numbers of attempts are never used twice: what one left must not be taken for another's.
        "max_attempts": JobTable.attempt + more_attempts,
    }
    ended = JobTable.state.in_(("failed", "cancelled"))
    if move_parts(session, job.id, [ended], "resumed", **again):
        again |= {"state": "running", "owner": None, "lease_until": None, "attempt": JobTable.attempt + 1}
    if move(session, [JobTable.id == job.id, ended], **again):
        record(session, job.id, "resumed")


def remove(session: Session, job_id: str) -> None:
    """Delete a finished job with its artifacts, and its video unless that was kept or another job needs it.

    Raises `NotFound`, and `Conflict` while the job is not finished.
    """
    from store import idempotency, videos  # a video knows its jobs, and a job its video

    job = get(session, job_id)
    gone = session.execute(delete(JobTable).where(JobTable.id == job_id, JobTable.state.in_(FINISHED)))
    if not rows_of(gone):
        raise Conflict(f"job {job_id} is {job.state}: cancel it, and delete it once it has ended")
    session.execute(delete(ArtifactTable).where(ArtifactTable.job_id == job_id))
    session.execute(delete(JobUseTable).where(JobUseTable.job_id == job_id))
    session.execute(delete(JobEventTable).where(JobEventTable.job_id == job_id))
    idempotency.forget(session, job_id)
    if job.video_id is not None:
        videos.remove_unless_needed(session, job.video_id)
