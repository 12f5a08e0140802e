"""Repairs: what dead processes and lost messages have left behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from multav.errors import WorkerLost
from store.database import now
from store.jobs.moves import Claim, all_parts_ended, held, move, record
from store.jobs.rows import JobState, is_paused
from store.jobs.splitting import gather
from store.tables import JobTable


@dataclass(frozen=True)
class Sweep:
    """What a sweep did: ids of jobs put back, failed and cancelled.

    `to_nudge` are queued jobs that need a message, with their kinds, parts of others last.
    """

    requeued: tuple[str, ...]
    failed: tuple[str, ...]
    cancelled: tuple[str, ...]
    to_nudge: dict[str, str]


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
        expired_claim = [*held(Claim(job_id, attempt, str(owner))), JobTable.lease_until < now()]
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
        if move(session, expired_claim, state=state, **values):
            record(session, job_id, "cancelled" if cancelled is not None else "worker_lost")
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
