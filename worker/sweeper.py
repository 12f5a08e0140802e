"""The sweeper: puts right what dead processes and lost messages left behind.

    python -m worker.sweeper

Every few seconds it takes back jobs whose lease has run out, publishes queued jobs whose message may be lost,
and collects bytes that nothing refers to. Several may run; each repair is made once.
"""

import logging
import signal
import threading
import time

from multav.errors import DependencyDown
from store import blobs, idempotency, jobs, workers
from store.database import Database
from store.queue import Queue
from store.settings import Settings, load_settings

_log = logging.getLogger(__name__)
_COLLECT_SECONDS = 60.0


def sweep_once(database: Database, queue: Queue, settings: Settings) -> jobs.Sweep:
    """One round of repairs."""
    with database.write() as session:
        sweep = jobs.sweep(session, nudge_seconds=settings.nudge_seconds)
    for name, moved in (
        ("requeued", sweep.requeued),
        ("failed", sweep.failed),
        ("cancelled", sweep.cancelled),
    ):
        for job_id in moved:
            _log.warning("job %s: its worker was lost, %s", job_id, name)
    waiting = queue.length()
    if not sweep.to_nudge or waiting is None or waiting >= len(sweep.to_nudge):
        # As many messages as jobs wait: the workers are busy, and more messages would only pile up.
        return sweep
    sent = []
    for job_id in sweep.to_nudge:
        if not queue.nudge(job_id):
            # The broker is away; the next round tries again.
            break
        sent.append(job_id)
    if sent:
        with database.write() as session:
            jobs.mark_nudged(session, sent)
    return sweep


def collect_once(database: Database, settings: Settings) -> None:
    """Forget what nobody needs any more."""
    blobs.collect(database, older_than_seconds=settings.blob_grace_seconds)
    with database.write() as session:
        idempotency.forget_old(session)
        workers.forget_old(session)


def main() -> None:
    """Sweep until SIGTERM or SIGINT."""
    settings = load_settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database, queue = Database(settings.database), Queue(settings)
    collected = time.monotonic()
    while not stop.is_set():
        try:
            sweep_once(database, queue, settings)
            if time.monotonic() - collected > _COLLECT_SECONDS:
                collected = time.monotonic()
                collect_once(database, settings)
        except DependencyDown as error:
            _log.warning("%s", error)
        stop.wait(settings.sweep_seconds)
    database.close()


if __name__ == "__main__":
    main()
