"""The workers that are there, as the service sees them."""

from typing import Final

from sqlalchemy.orm import Session

from store import workers
from store.workers import Worker

# Several times as long as a worker lets pass between two signs of life.
_FRESH_SECONDS: Final = 10.0


def alive_workers(session: Session) -> list[Worker]:
    """Those that gave a sign of life within the last seconds."""
    return workers.alive(session, within_seconds=_FRESH_SECONDS)
