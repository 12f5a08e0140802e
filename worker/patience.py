"""Writing to a database that may be away for a while, where giving up would cost hours of work."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from multav.errors import DependencyDown

if TYPE_CHECKING:
    from worker.running_job import RunningJob

_LEASES: Final = 10
_RETRY_SECONDS: Final = 0.5
_log = logging.getLogger(__name__)
Written = TypeVar("Written")


def patiently(running: "RunningJob", what: str, write: Callable[[], Written]) -> Written:
    """What `write` gives once the database takes it. Raises `DependencyDown` when it stays away for ten leases.

    `write` may have been done though nobody said so: doing it twice must be as good as once.
    """
    deadline = time.monotonic() + _LEASES * running.settings.lease_seconds
    while True:
        try:
            return write()
        except DependencyDown:
            if time.monotonic() > deadline:
                raise
            _log.warning("job %s: %s cannot be written yet", running.job.id, what, exc_info=True)
            time.sleep(_RETRY_SECONDS)
