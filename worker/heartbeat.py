"""Prolongs a running job's lease, so that a long step does not look like a death."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from store import jobs
from store.jobs import ClaimLost
from worker.running_job import RunningJob

_log = logging.getLogger(__name__)


@contextmanager
def heartbeat(running: RunningJob) -> Iterator[None]:
    """Beat from a thread of its own while the block runs; `running.lost` is set when the job was taken away.

    The thread dies with the process, and the lease runs out by the database's clock.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(running, stop), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _beat(running: RunningJob, stop: threading.Event) -> None:
    while not stop.wait(running.settings.heartbeat_seconds):
        try:
            with running.database.write() as session:
                jobs.heartbeat(session, running.claim, running.settings.lease_seconds)
        except ClaimLost:
            running.lost.set()
            return
        except Exception:
            # The lease spans several beats: one that fails is no reason to give up the job.
            _log.warning("a heartbeat of job %s failed", running.claim.job_id, exc_info=True)
