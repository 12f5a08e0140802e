"""The life of a job. Its state changes here and nowhere else.

                    ┌──────────── c, f, j ────────────┐
                    ▼                                 │
    create ──a──► queued ──b──► running (i) ──d──► succeeded
                  │    ▲          │  └────────e──► failed
                  │    │          h                  │
                  └─g──┼───► cancelled               │
                       └────────k─┴──────────────────┘

    a  create             the row is written; the message comes after the commit
    b  claim              one worker wins: attempt + 1, owner and lease are set
    c  release            the worker shuts down: back to the queue, the attempt does not count
    d  succeed, e fail    the worker ends its attempt
    f  sweep              the lease ran out: back to the queue, or failed (worker_lost) after the last attempt
    g  request_cancel     of a queued job: cancelled at once
    h  confirm_cancel     the worker has seen the flag that request_cancel left (or its lease ran out meanwhile)
    i  split              the worker leaves the job, which goes on running in its parts: no owner, no lease
    j  gather             all parts have ended: back to the queue, where a worker goes on with what they made
    k  resume             a failed or cancelled job, and those of its parts that failed, run again

A paused job stays in its state; it is not claimed, its parts are not claimed, and a worker that runs it releases it.

Every transition is one UPDATE that names the state it may leave; a worker's writes name its attempt and itself
as well, so that a worker which was given up cannot overwrite what its successor does. Every change of a row
makes a new `version`; every transition leaves an event.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import case, delete, func, insert, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from multav.errors import Conflict, WorkerLost
from store.database import now
from store.job_rows import (
    FINISHED,
    NORMAL,
    Job,
    JobEvent,
    JobState,
    count,
    count_unfinished,
    events_after,
    get,
    hurried,
    is_paused,
    listed,
    oldest_waiting_seconds,
    parts,
)
from store.tables import ArtifactTable, JobEventTable, JobTable, JobUseTable

__all__ = [
    "FINISHED",
    "Claim",
    "ClaimLost",
    "Job",
    "JobEvent",
    "JobState",
    "Part",
    "Sweep",
    "cancel_requested",
    "claim",
    "claim_part",
    "confirm_cancel",
    "count",
    "count_unfinished",
    "count_up",
    "create",
    "events_after",
    "fail",
    "gather",
    "get",
    "heartbeat",
    "hurried",
    "is_to_rest",
    "listed",
    "mark_nudged",
    "oldest_waiting_seconds",
    "parts",
    "pause",
    "release",
    "remove",
    "report_progress",
    "request_cancel",
    "resume",
    "split",
    "succeed",
    "sweep",
]

Use = tuple[Literal["model", "dataset"], str]
"""What a job needs, and its name."""


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt of a job. Every write of a worker shows it."""

    job_id: str
    attempt: int
    owner: str


@dataclass(frozen=True)
class Part:
    """A piece of a job that any worker may run by itself."""

    kind: str
    spec: dict[str, Any]


class ClaimLost(Exception):
    """The claim is no longer valid: the job was given to somebody else, or has ended. Stop and write nothing."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep did: ids of jobs put back, failed and cancelled.

    `to_nudge` are queued jobs that need a message, with their kinds, parts of others last.
    """

    requeued: tuple[str, ...]
    failed: tuple[str, ...]
    cancelled: tuple[str, ...]
    to_nudge: dict[str, str]


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
            _queued(job_id, kind, spec, priority=priority, max_attempts=max_attempts, video_id=video_id)
        )
    )
    for thing, name in dict.fromkeys(uses):
        session.execute(insert(JobUseTable).values(job_id=job_id, thing=thing, name=name))
    _record(session, job_id, "created")
    return get(session, job_id)


def claim(session: Session, job_id: str, owner: str, lease_seconds: float) -> Claim | None:
    """Take a queued job, if nobody else was faster. None when it is not queued any more (or never was)."""
    moved = _move(
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
    if not _is_split(session, job_id):
        # Only a job in parts keeps what an earlier attempt did.
        _move(
            session,
            [JobTable.id == job_id],
            progress_done=None,
            progress_total=None,
            progress_unit=None,
            progress_eta=None,
        )
    _record(session, job_id, "claimed")
    return Claim(job_id, job.attempt, owner)


def claim_part(session: Session, owner: str, lease_seconds: float) -> Claim | None:
    """Take the part that is to be run next: of the smallest priority, then of the oldest job. None when none waits."""
    waiting = session.scalar(
        select(JobTable.id)
        .where(JobTable.state == "queued", JobTable.parent_id.is_not(None), ~is_paused())
        .order_by(JobTable.priority, JobTable.created_at, JobTable.parent_id, JobTable.place)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return None if waiting is None else claim(session, waiting, owner, lease_seconds)


def split(
    session: Session, claim: Claim, pieces: Sequence[Part], *, total: int, unit: str, max_attempts: int
) -> None:
    """Leave a running job to its parts. When all have ended, it is queued again. Raises `ClaimLost`.

    Parts made before stay; the new ones come behind them. `total` units of progress are counted by `count_up`.
    """
    job = get(session, claim.job_id)
    before = session.scalar(select(func.count()).where(JobTable.parent_id == claim.job_id)) or 0
    left = _move(
        session,
        _held(claim),
        owner=None,
        lease_until=None,
        progress_done=func.coalesce(JobTable.progress_done, 0),
        progress_total=total,
        progress_unit=unit,
        progress_eta=None,
    )
    if not left:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    _record(session, claim.job_id, "split")
    # All at once: there may be thousands, and expressions of SQL are worked out row by row.
    moment = session.scalar(select(now()))
    rows = [
        _queued(uuid.uuid4().hex, part.kind, part.spec, priority=job.priority, max_attempts=max_attempts)
        | {"parent_id": job.id, "place": before + place, "nudged_at": moment, "created_at": moment}
        for place, part in enumerate(pieces)
    ]
    if rows:
        session.execute(insert(JobTable), rows)
        _record_parts(session, [(row["id"], 1, "queued", 0) for row in rows], "created")


def gather(session: Session, job_id: str) -> bool:
    """Queue a job again whose parts have all ended, or end it if it is to be cancelled; whether it waits now.

    The attempt does not count. Does nothing while a part has not ended, or for a job that a worker holds.
    """
    left = [
        JobTable.id == job_id,
        JobTable.state == "running",
        JobTable.owner.is_(None),
        all_parts_ended(),
    ]
    if _move(
        session,
        [*left, JobTable.cancel_requested_at.is_not(None)],
        state="cancelled",
        finished_at=now(),
        progress_eta=None,
    ):
        _record(session, job_id, "cancelled")
        return False
    if not _move(session, left, state="queued", attempt=JobTable.attempt - 1, nudged_at=None):
        return False
    _record(session, job_id, "gathered")
    return True


def count_up(session: Session, part: Claim, *, done: int, seconds_each: float | None) -> tuple[str, int]:
    """Note that a part has done so many units of its job; that job's id and its new version.

    Raises `ClaimLost` when the part is not held any more.

    To be called in the transaction that keeps what was done, so that a unit counts exactly once. The parts that run
    share what is left, at `seconds_each`.
    """
    parent_id = session.scalar(
        update(JobTable)
        .where(*_held(part))
        .values(version=JobTable.version + 1)
        .returning(JobTable.parent_id)
        .execution_options(synchronize_session=False)
    )
    if parent_id is None:
        raise ClaimLost(f"job {part.job_id} is no longer run by attempt {part.attempt} of {part.owner}")
    running = session.scalar(
        select(func.count()).where(JobTable.parent_id == parent_id, JobTable.state == "running")
    )
    reached = func.coalesce(JobTable.progress_done, 0) + done
    eta = None
    if seconds_each is not None:
        eta = (JobTable.progress_total - reached) * seconds_each / max(1, running or 1)
    version = session.scalar(
        update(JobTable)
        .where(JobTable.id == parent_id)
        .values(version=JobTable.version + 1, progress_done=reached, progress_eta=eta)
        .returning(JobTable.version)
        .execution_options(synchronize_session=False)
    )
    assert version is not None, "a part goes with its job"
    return parent_id, version


def is_to_rest(session: Session, claim: Claim) -> bool:
    """Whether the running job, or the one that it is a part of, was paused."""
    return session.scalar(select(func.count()).where(*_held(claim), is_paused())) == 1


def pause(session: Session, job_id: str) -> Job:
    """Let the job rest until it is resumed: it keeps its state, and what it has done. Raises `NotFound`, `Conflict`."""
    job = get(session, job_id)
    if _move(
        session,
        [JobTable.id == job_id, JobTable.state.not_in(FINISHED), JobTable.paused_at.is_(None)],
        paused_at=now(),
        progress_eta=None,
    ):
        _record(session, job_id, "paused")
    elif job.finished:
        raise Conflict(f"job {job_id} is {job.state}: there is nothing to pause")
    return get(session, job_id)


def resume(session: Session, job_id: str, *, more_attempts: int) -> Job:
    """Let a paused job go on, or run one again that failed or was cancelled: only what is missing is done.

    Raises `NotFound`, and `Conflict` for a job that has succeeded.
    """
    job = get(session, job_id)
    if job.state == "succeeded":
        raise Conflict(f"job {job_id} has succeeded: there is nothing left to do")
    if job.paused and _move(
        session, [JobTable.id == job_id, JobTable.paused_at.is_not(None)], paused_at=None, nudged_at=None
    ):
        session.execute(
            update(JobTable)
            .where(JobTable.parent_id == job_id, JobTable.state == "queued")
            .values(nudged_at=None)
            .execution_options(synchronize_session=False)
        )
        _record(session, job_id, "resumed")
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
    if _move_parts(session, job.id, [ended], "resumed", **again):
        again |= {"state": "running", "owner": None, "lease_until": None, "attempt": JobTable.attempt + 1}
    if _move(session, [JobTable.id == job.id, ended], **again):
        _record(session, job.id, "resumed")


def all_parts_ended() -> ColumnElement[bool]:
    """Whether no part of the job waits or runs."""
    part = aliased(JobTable)
    unfinished = select(part.id).where(part.parent_id == JobTable.id, part.state.not_in(FINISHED))
    return ~unfinished.correlate(JobTable).exists()


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
        _cancel_parts(session, job_id)
        gather(session, job_id)
    return get(session, job_id)


def _cancel_parts(session: Session, job_id: str) -> None:
    """Cancel the parts that wait, and flag those that run."""
    _move_parts(
        session,
        job_id,
        [JobTable.state == "queued"],
        "cancelled",
        state="cancelled",
        cancel_requested_at=now(),
        finished_at=now(),
    )
    unflagged = [JobTable.state == "running", JobTable.cancel_requested_at.is_(None)]
    _move_parts(session, job_id, unflagged, "cancel_requested", cancel_requested_at=now())


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
    session.execute(delete(JobUseTable).where(JobUseTable.job_id == job_id))
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
    split_up = session.scalars(
        select(JobTable.id)
        .where(JobTable.state == "running", JobTable.owner.is_(None), all_parts_ended())
        .limit(limit)
    ).all()
    # Their last part ended with a process that could not say so.
    gathered = [job_id for job_id in split_up if gather(session, job_id)]
    waiting = session.execute(
        select(JobTable.id, JobTable.kind)
        .where(
            JobTable.state == "queued",
            ~is_paused(),
            or_(JobTable.nudged_at.is_(None), JobTable.nudged_at < now() - nudge_seconds),
        )
        .order_by(JobTable.parent_id.is_not(None), JobTable.created_at)
        .limit(limit)
    )
    return Sweep(
        (*outcome["queued"], *gathered),
        tuple(outcome["failed"]),
        tuple(outcome["cancelled"]),
        {row.id: row.kind for row in waiting},
    )


def mark_nudged(session: Session, job_ids: Sequence[str]) -> None:
    """Note that a message was sent for each of the jobs."""
    session.execute(
        update(JobTable)
        .where(JobTable.id.in_(job_ids), JobTable.state == "queued")
        .values(nudged_at=now())
        .execution_options(synchronize_session=False)
    )


def _end(session: Session, claim: Claim, state: JobState, cause: str, **values: Any) -> None:
    """One of the three endings of a running attempt."""
    if not _move(
        session, _held(claim), state=state, owner=None, lease_until=None, finished_at=now(), **values
    ):
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    _record(session, claim.job_id, cause)


def _queued(
    job_id: str,
    kind: str,
    spec: dict[str, Any],
    *,
    priority: int,
    max_attempts: int,
    video_id: str | None = None,
) -> dict[str, Any]:
    """The row of a new job."""
    return {
        "id": job_id,
        "kind": kind,
        "state": "queued",
        "version": 1,
        "spec": spec,
        "video_id": video_id,
        "priority": priority,
        "attempt": 0,
        "max_attempts": max_attempts,
        "nudged_at": now(),
        "created_at": now(),
    }


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


def _move_parts(
    session: Session, job_id: str, conditions: list[ColumnElement[bool]], cause: str, **values: Any
) -> int:
    """As `_move`, of all parts of a job that fulfil the conditions, with their events; how many there were."""
    moved = session.execute(
        update(JobTable)
        .where(JobTable.parent_id == job_id, *conditions)
        .values(version=JobTable.version + 1, **values)
        .returning(JobTable.id, JobTable.version, JobTable.state, JobTable.attempt)
        .execution_options(synchronize_session=False)
    ).all()
    _record_parts(session, [(row.id, row.version, row.state, row.attempt) for row in moved], cause)
    return len(moved)


def _record_parts(session: Session, moved: Sequence[tuple[str, int, str, int]], cause: str) -> None:
    """The events of many transitions at once: id, version, state and attempt of each."""
    moment = session.scalar(select(now()))
    rows = [
        {"job_id": part, "version": version, "state": state, "cause": cause, "attempt": attempt, "at": moment}
        for part, version, state, attempt in moved
    ]
    if rows:
        session.execute(insert(JobEventTable), rows)


def _is_split(session: Session, job_id: str) -> bool:
    return session.scalar(select(JobTable.id).where(JobTable.parent_id == job_id).limit(1)) is not None


def _literal(word: str) -> ColumnElement[str]:
    from sqlalchemy import String, literal

    return literal(word[:32], String(32))


def _rows(result: Any) -> int:
    assert isinstance(result, CursorResult), "UPDATE and DELETE give cursor results"
    return result.rowcount
