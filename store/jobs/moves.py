"""The guarded UPDATEs behind every change of a job, and the events that tell of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, insert, literal, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from store.database import now
from store.jobs.rows import FINISHED
from store.tables import JobEventTable, JobTable


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt of a job. Every write of a worker shows it."""

    job_id: str
    attempt: int
    owner: str


class ClaimLost(Exception):
    """The claim is no longer valid: the job was given to somebody else, or has ended. Stop and write nothing."""


def queued_row(
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


def held(claim: Claim) -> list[ColumnElement[bool]]:
    """The job is running, and by this very claim."""
    return [
        JobTable.id == claim.job_id,
        JobTable.state == "running",
        JobTable.attempt == claim.attempt,
        JobTable.owner == claim.owner,
    ]


def move(session: Session, conditions: list[ColumnElement[bool]], **values: Any) -> bool:
    """The guarded UPDATE behind every change: whether the row was there in the state that `conditions` name."""
    moved = session.execute(
        update(JobTable)
        .where(*conditions)
        .values(version=JobTable.version + 1, **values)
        .execution_options(synchronize_session=False)
    )
    return rows_of(moved) == 1


def record(session: Session, job_id: str, cause: str) -> None:
    """The event of the transition that was just made."""
    columns = ("job_id", "version", "state", "cause", "attempt", "at")
    made = select(
        JobTable.id, JobTable.version, JobTable.state, _literal(cause), JobTable.attempt, now()
    ).where(JobTable.id == job_id)
    session.execute(insert(JobEventTable).from_select(columns, made))


def move_parts(
    session: Session, job_id: str, conditions: list[ColumnElement[bool]], cause: str, **values: Any
) -> int:
    """As `move`, of all parts of a job that fulfil the conditions, with their events; how many there were."""
    moved = session.execute(
        update(JobTable)
        .where(JobTable.parent_id == job_id, *conditions)
        .values(version=JobTable.version + 1, **values)
        .returning(JobTable.id, JobTable.version, JobTable.state, JobTable.attempt)
        .execution_options(synchronize_session=False)
    ).all()
    record_parts(session, [(row.id, row.version, row.state, row.attempt) for row in moved], cause)
    return len(moved)


def record_parts(session: Session, moved: Sequence[tuple[str, int, str, int]], cause: str) -> None:
    """The events of many transitions at once: id, version, state and attempt of each."""
    moment = session.scalar(select(now()))
    rows = [
        {"job_id": part, "version": version, "state": state, "cause": cause, "attempt": attempt, "at": moment}
        for part, version, state, attempt in moved
    ]
    if rows:
        session.execute(insert(JobEventTable), rows)


def all_parts_ended() -> ColumnElement[bool]:
    """Whether no part of the job waits or runs."""
    part = aliased(JobTable)
    unfinished = select(part.id).where(part.parent_id == JobTable.id, part.state.not_in(FINISHED))
    return ~unfinished.correlate(JobTable).exists()


def _literal(word: str) -> ColumnElement[str]:
    return literal(word[:32], String(32))


def rows_of(result: Any) -> int:
    """How many rows an UPDATE or DELETE has met."""
    assert isinstance(result, CursorResult), "UPDATE and DELETE give cursor results"
    return result.rowcount
