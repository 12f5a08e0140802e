"""Jobs that go on in parts: any worker takes the next one, and the last one to end wakes the job."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, insert, select, update
from sqlalchemy.orm import Session

from multav.errors import Cancelled
from store.database import now
from store.jobs.life import cancel_requested, claim
from store.jobs.moves import Claim, ClaimLost, all_parts_ended, held, move, queued_row, record, record_parts
from store.jobs.rows import get, is_paused
from store.tables import JobTable


@dataclass(frozen=True)
class Part:
    """A piece of a job that any worker may run by itself."""

    kind: str
    spec: dict[str, Any]


def claim_part(session: Session, owner: str, lease_seconds: float) -> Claim | None:
    """Take the part that is to be run next: of the smallest priority, then the oldest. None when none waits."""
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
    """Leave a running job to its parts. When all have ended, it is queued again.

    Raises `ClaimLost`, and `Cancelled` for a job that is to be cancelled.

    Parts made before stay; the new ones come behind them. `total` units of progress are counted by `count_up`.
    """
    job = get(session, claim.job_id)
    before = session.scalar(select(func.count()).where(JobTable.parent_id == claim.job_id)) or 0
    left = move(
        session,
        [*held(claim), JobTable.cancel_requested_at.is_(None)],
        owner=None,
        lease_until=None,
        progress_done=func.coalesce(JobTable.progress_done, 0),
        progress_total=total,
        progress_unit=unit,
        progress_eta=None,
    )
    if not left and cancel_requested(session, claim):
        raise Cancelled
    if not left:
        raise ClaimLost(f"job {claim.job_id} is no longer run by attempt {claim.attempt} of {claim.owner}")
    record(session, claim.job_id, "split")
    # All at once: there may be thousands, and expressions of SQL are worked out row by row.
    moment = session.scalar(select(now()))
    rows = [
        queued_row(uuid.uuid4().hex, part.kind, part.spec, priority=job.priority, max_attempts=max_attempts)
        | {"parent_id": job.id, "place": before + place, "nudged_at": moment, "created_at": moment}
        for place, part in enumerate(pieces)
    ]
    if rows:
        session.execute(insert(JobTable), rows)
        record_parts(session, [(row["id"], 1, "queued", 0) for row in rows], "created")


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
    if move(
        session,
        [*left, JobTable.cancel_requested_at.is_not(None)],
        state="cancelled",
        finished_at=now(),
        progress_eta=None,
    ):
        record(session, job_id, "cancelled")
        return False
    if not move(session, left, state="queued", attempt=JobTable.attempt - 1, nudged_at=None):
        return False
    record(session, job_id, "gathered")
    return True


def count_up(session: Session, part: Claim, *, done: int, seconds_each: float | None) -> tuple[str, int]:
    """Note that a part has done so many units of its job; that job's id and its new version.

    Raises `ClaimLost` when the part is not held any more.

    To be called in the transaction that keeps what was done, so that a unit counts exactly once. The parts that run
    share what is left, at `seconds_each`.
    """
    parent_id = session.scalar(
        update(JobTable)
        .where(*held(part))
        .values(version=JobTable.version + 1)
        .returning(JobTable.parent_id)
        .execution_options(synchronize_session=False)
    )
    if parent_id is None:
        raise ClaimLost(f"job {part.job_id} is no longer run by attempt {part.attempt} of {part.owner}")
    running = session.scalar(
        select(func.count()).where(JobTable.parent_id == parent_id, JobTable.state == "running")
    )
    counted = func.coalesce(JobTable.progress_done, 0) + done
    # What a part does twice because it died in between is not counted twice.
    reached = case((counted > JobTable.progress_total, JobTable.progress_total), else_=counted)
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
