"""The curves of trainings, point by point, in the order in which they came in."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any, Final

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from multav.errors import FieldError, InvalidSpec
from multav.training.curve import CurvePoint
from store import jobs
from store.jobs import Claim
from store.paging import Page
from store.tables import TrainingPointTable

_FIELDS: Final = tuple(field.name for field in fields(CurvePoint))
_LONGEST_CURSOR: Final = 15
_BEGINNING: Final = "0"


def add(session: Session, claim: Claim, point: CurvePoint) -> None:
    """Keep a point of the training that `claim` holds. Raises `ClaimLost`.

    A training that was resumed sends the points behind its checkpoint again. One that says the same as before stays as
    it is, and one that does not (another device computes other last digits) takes the place of the older.
    """
    version = jobs.advance(session, claim)
    table = TrainingPointTable
    known = session.scalar(
        select(table).where(
            table.job_id == claim.job_id, table.series == point.series, table.step == point.step
        )
    )
    if known is not None:
        if _says(_value(known)) == _says(point):
            return
        session.execute(
            delete(table).where(
                table.job_id == claim.job_id, table.series == point.series, table.step == point.step
            )
        )
        session.expunge(known)
    session.execute(insert(table).values(job_id=claim.job_id, version=version, **asdict(point)))


def after(
    session: Session, job_id: str, version: int, *, up_to: int | None = None, limit: int
) -> list[tuple[int, CurvePoint]]:
    """The points that came in after `version` of the job (and by `up_to`), the first `limit`, with their versions."""
    table = TrainingPointTable
    query = select(table).where(table.job_id == job_id, table.version > version)
    if up_to is not None:
        query = query.where(table.version <= up_to)
    return [(row.version, _value(row)) for row in session.scalars(query.order_by(table.version).limit(limit))]


def every(session: Session, job_id: str) -> list[CurvePoint]:
    """All points of a training, by series and step, whoever found them and when."""
    table = TrainingPointTable
    rows = session.scalars(select(table).where(table.job_id == job_id).order_by(table.series, table.step))
    return [_value(row) for row in rows]


def listed(
    session: Session, job_id: str, *, series: str | None = None, limit: int = 200, cursor: str | None = None
) -> Page[CurvePoint]:
    """Points in the order in which they came in, of one series if asked.

    The cursor of the last page, also of an empty one, continues with what comes in later.
    Raises `InvalidSpec` for a cursor that was not given out.
    """
    table = TrainingPointTable
    query = select(table).where(table.job_id == job_id)
    if series is not None:
        query = query.where(table.series == series)
    if cursor is not None:
        query = query.where(table.version > _version(cursor))
    rows: Sequence[TrainingPointTable] = session.scalars(query.order_by(table.version).limit(limit)).all()
    return Page(tuple(map(_value, rows)), str(rows[-1].version) if rows else cursor or _BEGINNING)


def _version(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _LONGEST_CURSOR):
        detail = "the cursor is not one that this list gave out: start again without it"
        raise InvalidSpec(detail, errors=[FieldError(pointer="/cursor", detail=detail)])
    return int(cursor)


def _says(point: CurvePoint) -> CurvePoint:
    """What a point says of the training; how long somebody waited is another every time."""
    return replace(point, waiting=None)


def _value(row: Any) -> CurvePoint:
    return CurvePoint(**{name: getattr(row, name) for name in _FIELDS})
