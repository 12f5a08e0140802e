"""What audits have found, clip by clip, and the videos that they look at. Rows are written once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, tuple_
from sqlalchemy.orm import Session

from multav.audits.outcome import Outcome
from multav.errors import InvalidSpec
from store import jobs
from store.jobs import Claim
from store.paging import Page
from store.tables import AuditClipTable, AuditOutcomeTable

_FIELDS = tuple(field.name for field in fields(Outcome))
_AT_ONCE: Final = 500
_CURSOR: Final = re.compile(r"^[0-9]{1,15}\.[0-9]{1,9}$")
_BEGINNING: Final = "0.0"


@dataclass(frozen=True)
class AuditClip:
    """A video of an audit: number `position` in its order, `clip` in the dataset's listing."""

    position: int
    clip: int
    name: str
    label: int
    group: str


def plan_clips(session: Session, job_id: str, clips: Sequence[AuditClip]) -> None:
    """Note which videos the audit looks at, in place of an earlier plan."""
    session.execute(delete(AuditClipTable).where(AuditClipTable.job_id == job_id))
    for start in range(0, len(clips), _AT_ONCE):
        rows = [{"job_id": job_id, **asdict(clip)} for clip in clips[start : start + _AT_ONCE]]
        session.execute(insert(AuditClipTable), rows)


def clips_of(session: Session, job_id: str, first: int = 0, last: int | None = None) -> list[AuditClip]:
    """The audit's videos from position `first` up to (not including) `last`, in order."""
    query = select(AuditClipTable).where(AuditClipTable.job_id == job_id, AuditClipTable.position >= first)
    if last is not None:
        query = query.where(AuditClipTable.position < last)
    rows = session.scalars(query.order_by(AuditClipTable.position))
    return [_clip(row) for row in rows]


def videos(session: Session, job_id: str, clips: Sequence[int]) -> dict[int, AuditClip]:
    """Those of the audit's videos that have the indices `clips` in the dataset's listing, by that index."""
    found: dict[int, AuditClip] = {}
    for start in range(0, len(clips), _AT_ONCE):
        query = select(AuditClipTable).where(
            AuditClipTable.job_id == job_id, AuditClipTable.clip.in_(clips[start : start + _AT_ONCE])
        )
        found |= {row.clip: _clip(row) for row in session.scalars(query)}
    return found


def add(session: Session, part: Claim, found: Sequence[Outcome]) -> None:
    """Keep what a part of an audit found, and count it, in one transaction.

    Raises `ClaimLost`, and `IntegrityError` where an outcome is there already: nothing is counted twice.
    """
    own = [outcome for outcome in found if outcome.tested_on == outcome.model]
    seconds = sum(outcome.seconds for outcome in own) / len(own) if own else None
    audit_id, version = jobs.count_up(session, part, done=len(own), seconds_each=seconds)
    for start in range(0, len(found), _AT_ONCE):
        rows = [
            {"job_id": audit_id, "version": version, "place": start + place, **asdict(outcome)}
            for place, outcome in enumerate(found[start : start + _AT_ONCE])
        ]
        session.execute(insert(AuditOutcomeTable), rows)


def done(session: Session, job_id: str, model: str, clips: Sequence[int]) -> dict[str, set[int]]:
    """By cell, which of the `clips` were crafted on the model already."""
    found: dict[str, set[int]] = {}
    for start in range(0, len(clips), _AT_ONCE):
        rows = session.execute(
            select(AuditOutcomeTable.cell, AuditOutcomeTable.clip).where(
                AuditOutcomeTable.job_id == job_id,
                AuditOutcomeTable.model == model,
                AuditOutcomeTable.tested_on == model,
                AuditOutcomeTable.clip.in_(clips[start : start + _AT_ONCE]),
            )
        )
        for cell, clip in rows:
            found.setdefault(cell, set()).add(clip)
    return found


def of_cell(
    session: Session, job_id: str, model: str, cell: str, clips: Sequence[int] | None = None
) -> list[Outcome]:
    """What was found of one model in one cell (of `clips` alone, if given), in the order of the listing."""
    query = select(AuditOutcomeTable).where(
        AuditOutcomeTable.job_id == job_id,
        AuditOutcomeTable.model == model,
        AuditOutcomeTable.tested_on == model,
        AuditOutcomeTable.cell == cell,
    )
    if clips is not None:
        query = query.where(AuditOutcomeTable.clip.in_(clips))
    return [_value(row) for row in session.scalars(query.order_by(AuditOutcomeTable.clip))]


def every(session: Session, job_id: str) -> Iterator[Outcome]:
    """All outcomes of an audit, in an order that does not depend on who found them."""
    rows = session.execute(
        select(*(getattr(AuditOutcomeTable, name) for name in _FIELDS))
        .where(AuditOutcomeTable.job_id == job_id)
        .order_by(
            AuditOutcomeTable.model,
            AuditOutcomeTable.cell,
            AuditOutcomeTable.tested_on,
            AuditOutcomeTable.clip,
        )
        .execution_options(yield_per=5000)
    )
    for row in rows:
        yield Outcome(**row._mapping)


def count(session: Session, job_id: str) -> int:
    """How many outcomes an audit has so far."""
    there = select(func.count()).where(AuditOutcomeTable.job_id == job_id)
    return session.scalar(there) or 0


def listed(
    session: Session,
    job_id: str,
    *,
    model: str | None = None,
    cell: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Outcome]:
    """Outcomes in the order in which they came in, of one model or cell if asked.

    The cursor of the last page, also of an empty one, continues with what comes in later.
    Raises `InvalidSpec` for a cursor that was not given out.
    """
    query = select(AuditOutcomeTable).where(AuditOutcomeTable.job_id == job_id)
    if model is not None:
        query = query.where(AuditOutcomeTable.model == model)
    if cell is not None:
        query = query.where(AuditOutcomeTable.cell == cell)
    if cursor is not None:
        after = tuple_(AuditOutcomeTable.version, AuditOutcomeTable.place)
        query = query.where(after > tuple_(*_place(cursor)))
    rows = session.scalars(
        query.order_by(AuditOutcomeTable.version, AuditOutcomeTable.place).limit(limit)
    ).all()
    following = f"{rows[-1].version}.{rows[-1].place}" if rows else cursor or _BEGINNING
    return Page(tuple(_value(row) for row in rows), following)


def _place(cursor: str) -> tuple[int, int]:
    if not _CURSOR.match(cursor):
        detail = "the cursor is not one that this list gave out: start again without it"
        raise InvalidSpec.at("/cursor", detail)
    version, place = cursor.split(".")
    return int(version), int(place)


def _clip(row: AuditClipTable) -> AuditClip:
    return AuditClip(row.position, row.clip, row.name, row.label, row.group)


def _value(row: Any) -> Outcome:
    return Outcome(**{name: getattr(row, name) for name in _FIELDS})
