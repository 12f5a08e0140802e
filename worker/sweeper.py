"""The sweeper: puts right what dead processes and lost messages left behind.

    python -m worker.sweeper            until SIGTERM or SIGINT
    python -m worker.sweeper --check    exit code 0 while the sweeper of this data folder does its rounds

Every few seconds it takes back jobs whose lease has run out, publishes queued jobs whose message may be lost,
and collects bytes that nothing refers to. Several may run; each repair is made once.
"""

import argparse
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from multav.errors import DependencyDown
from store import blobs, idempotency, jobs, workers
from store.database import Database
from store.queue import Queue
from store.settings import Settings, load_settings

_log = logging.getLogger(__name__)
_COLLECT_SECONDS: Final = 60.0
_SILENT_SECONDS: Final = 60.0


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
    sent = []
    for kind, job_ids in _by_kind(sweep.to_nudge).items():
        waiting = queue.length(kind)
        if waiting is None or waiting >= len(job_ids):
            # As many messages as jobs wait: the workers are busy, and more messages would only pile up.
            continue
        for job_id in job_ids:
            if not queue.nudge(job_id, kind):
                # The broker is away; the next round tries again.
                break
            sent.append(job_id)
    if sent:
        with database.write() as session:
            jobs.mark_nudged(session, sent)
    return sweep


def _by_kind(to_nudge: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for job_id, kind in to_nudge.items():
        found.setdefault(kind, []).append(job_id)
    return found


def collect_once(database: Database, settings: Settings) -> None:
    """Forget what nobody needs any more."""
    blobs.collect(database, older_than_seconds=settings.blob_grace_seconds)
    with database.write() as session:
        idempotency.forget_old(session)
        workers.forget_old(session)


def main(arguments: list[str] | None = None) -> int:
    """Sweep until SIGTERM or SIGINT, or say whether another process does; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.sweeper", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say whether the sweeper does its rounds")
    options = parser.parse_args(arguments)
    settings = load_settings()
    if options.check:
        return 0 if _last_round_seconds_ago(settings) < _SILENT_SECONDS else 1
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _sweep_until(stop, settings)
    return 0


def _sweep_until(stop: threading.Event, settings: Settings) -> None:
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
        else:
            _sign(settings).touch()
        stop.wait(settings.sweep_seconds)
    queue.close()
    database.close()


def _sign(settings: Settings) -> Path:
    """A file that is touched after each round."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return settings.data_dir / "sweeper.alive"


def _last_round_seconds_ago(settings: Settings) -> float:
    try:
        return time.time() - _sign(settings).stat().st_mtime
    except FileNotFoundError:
        return math.inf


if __name__ == "__main__":
    sys.exit(main())
