"""Names that a model is going to have: of two who want the same one, the second looks when the first has written."""

import hashlib

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def hold_wanted(session: Session, name: str) -> None:
    """Wait for whoever else holds this name, and keep others waiting until the transaction ends.

    To be called before it is looked up whether the name is free: what those before have written is seen from here on.
    """
    if session.get_bind().dialect.name != "postgresql":
        # SQLite lets one transaction at a time write (`store.database`).
        return
    # 64 bits with a sign. Two names that share them wait for each other, and no more.
    number = int.from_bytes(hashlib.sha256(f"model {name}".encode()).digest()[:8], "big", signed=True)
    session.execute(select(func.pg_advisory_xact_lock(number)))
