"""Parts that run beside their job, which stays with its worker: any worker may join it.

They are there for one attempt, and for one meeting of it: whoever comes when that is over finds nothing to join. They
go before all other parts: a worker stands idle until they run.
"""

import uuid
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import and_, func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from store.database import now
from store.jobs.life import cancel_requested
from store.jobs.moves import Claim, move_parts, queued_row, record_parts
from store.jobs.rows import get, is_paused
from store.jobs.splitting import Part
from store.tables import JobTable

_FIRST: Final = -1
"""Their priority, smaller than that of any job."""


def invite(session: Session, claim: Claim, pieces: Sequence[Part], *, max_attempts: int) -> list[str]:
    """Queue parts that run beside the running job, in place of those that were invited before; their ids.

    Raises `ClaimLost`.
    """
    dismiss(session, claim)
    job = get(session, claim.job_id)
    before = session.scalar(select(func.count()).where(JobTable.parent_id == job.id)) or 0
    rows = [
        queued_row(uuid.uuid4().hex, part.kind, part.spec, priority=_FIRST, max_attempts=max_attempts)
        | {"parent_id": job.id, "place": before + place}
        for place, part in enumerate(pieces)
    ]
    for row in rows:
        session.execute(insert(JobTable).values(row))
    record_parts(session, [(row["id"], 1, "queued", 0) for row in rows], "created")
    return [row["id"] for row in rows]


def dismiss(session: Session, claim: Claim) -> None:
    """End the parts that wait beside the running job, and ask those that run to end.

    Raises `ClaimLost`: those of another attempt are none of this one's business.
    """
    cancel_requested(session, claim)
    job_id = claim.job_id
    move_parts(
        session,
        job_id,
        [JobTable.state == "queued"],
        "dismissed",
        # Not cancelled: to resume the job is not to ask them back.
        state="succeeded",
        result={},
        finished_at=now(),
    )
    move_parts(
        session,
        job_id,
        [JobTable.state == "running", JobTable.cancel_requested_at.is_(None)],
        "dismissed",
        cancel_requested_at=now(),
    )


def first_problem(session: Session, invited: Sequence[str]) -> dict[str, Any] | None:
    """The problem of the one that failed first, of the parts with these ids; None as long as none has."""
    return session.scalar(
        select(JobTable.problem)
        .where(JobTable.id.in_(invited), JobTable.state == "failed")
        .order_by(JobTable.finished_at, JobTable.place)
        .limit(1)
    )


def lacking_elsewhere(session: Session, claim: Claim, *, after_seconds: float) -> int:
    """How many parts have waited for so long that are to run beside jobs which are older than this one."""
    elder, own = aliased(JobTable), aliased(JobTable)
    older = or_(
        elder.created_at < own.created_at, and_(elder.created_at == own.created_at, elder.id < own.id)
    )
    waiting = (
        select(func.count())
        .select_from(JobTable)
        # A job that has left itself to its parts has no owner.
        .join(elder, and_(elder.id == JobTable.parent_id, elder.state == "running", elder.owner.is_not(None)))
        .join(own, and_(own.id == claim.job_id, older))
        .where(JobTable.state == "queued", JobTable.created_at < now() - after_seconds, ~is_paused())
    )
    return session.scalar(waiting) or 0
