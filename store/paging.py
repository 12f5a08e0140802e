"""Lists in pages: newest first, continued by an opaque cursor."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import tuple_
from sqlalchemy.orm import Session

from multav.errors import InvalidSpec

Value = TypeVar("Value")
_LONGEST: Final = 1000


@dataclass(frozen=True)
class Page(Generic[Value]):
    """Some items of a list, and the cursor that continues it (None at the end)."""

    items: tuple[Value, ...]
    next_cursor: str | None


def page(
    session: Session,
    query: Any,
    order: Sequence[Any],
    *,
    limit: int,
    cursor: str | None,
    key: Callable[[Any], tuple[Any, ...]],
    value: Callable[[Any], Value],
) -> Page[Value]:
    """A page of `query`, descending by the columns `order`, whose values of a row `key` gives.

    Raises `InvalidSpec` for a cursor that this list did not give out.
    """
    if cursor is not None:
        query = query.where(tuple_(*order) < tuple_(*_parse(cursor, len(order))))
    rows = session.scalars(query.order_by(*(column.desc() for column in order)).limit(limit + 1)).all()
    shown = rows[:limit]
    following = _encode(key(shown[-1])) if len(rows) > limit else None
    return Page(tuple(value(row) for row in shown), following)


def _encode(key: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _parse(cursor: str, length: int) -> list[Any]:
    try:
        if len(cursor) > _LONGEST:
            raise ValueError
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(key, list) or len(key) != length or not all(_is_plain(part) for part in key):
            raise ValueError
    except (ValueError, RecursionError) as error:
        detail = "the cursor is not one that this list gave out: start again without it"
        raise InvalidSpec.at("/cursor", detail) from error
    return key


def _is_plain(part: Any) -> bool:
    """A finite number or a text that a database can compare with."""
    return (type(part) is float and isfinite(part)) or (type(part) is str and part.isascii())
