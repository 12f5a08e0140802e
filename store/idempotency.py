"""The same POST twice is one POST: the first answer to an Idempotency-Key is given again.

The key's row is written in the transaction that creates what the request asks for, so that a crash leaves both
or neither. Of two requests at the same time one creates; the other waits for its commit and is answered alike.
"""

import hashlib
import json
from typing import Any

from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from multav.errors import IdempotencyMismatch
from store.database import now
from store.tables import IdempotencyTable

KEPT_SECONDS = 24 * 3600.0


def request_hash(*parts: Any) -> str:
    """A digest of what the request means (its specification and its video's SHA-256), not of its bytes."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def answered(session: Session, key: str, route: str, digest: str) -> str | None:
    """The id of what the first request with this key made; None if there was none.

    Raises `IdempotencyMismatch` when that request was another one.
    """
    row = session.get(IdempotencyTable, (key, route))
    if row is None:
        return None
    if row.request_hash != digest:
        raise IdempotencyMismatch(
            f"the Idempotency-Key {key!r} was used before with another body: use a new key for a new request"
        )
    return row.subject


def remember(session: Session, key: str, route: str, digest: str, subject: str) -> bool:
    """Note that the request with this key made `subject`; False if another request was faster (roll back then)."""
    try:
        session.execute(
            insert(IdempotencyTable).values(
                key=key, route=route, request_hash=digest, subject=subject, created_at=now()
            )
        )
    except IntegrityError:
        return False
    return True


def forget(session: Session, subject: str) -> None:
    """Forget the keys of what is deleted: who sends the request again asks for it anew."""
    session.execute(delete(IdempotencyTable).where(IdempotencyTable.subject == subject))


def forget_old(session: Session) -> None:
    """Forget keys that are older than a day."""
    session.execute(delete(IdempotencyTable).where(IdempotencyTable.created_at < now() - KEPT_SECONDS))
