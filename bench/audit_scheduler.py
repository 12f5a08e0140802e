"""How busy an audit keeps many workers: the real store and its real parts, with workers that only wait.

    python bench/audit_scheduler.py [--workers 64] [--parts 1000] [--database URL] [--json FILE]

Every worker is a thread that does what a worker process does between its gradients: it takes the next part, and after
each batch commits that batch's outcomes and asks whether it is to stop; at the end it ends the part and looks whether
the audit goes on. The batches themselves are waits of random length (`--batch-seconds` on average, uniform between half
and one and a half of it), `--batches` to a part. `busy` is the share of the workers' time that was spent in batches,
from the first claim to the moment when the audit can be reported; what is missing is the scheduler's own work, waiting
for the database, and the end, when there are fewer parts left than workers. Real batches take seconds to minutes; the
shorter ones here load the scheduler so many times as much.
"""

import argparse
import json
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from conditions import conditions, in_one_line

from multav.audits.outcome import Outcome
from store import jobs, outcomes
from store.database import Database, migrate
from store.jobs import Part
from store.settings import Settings

_BATCH: int = 8


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--parts", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=4, help="batches of a part")
    parser.add_argument("--batch-seconds", type=float, default=1.0)
    parser.add_argument(
        "--database", default="", help="SQLAlchemy URL (default: SQLite in a temporary folder)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    options = parser.parse_args()
    print(in_one_line(conditions()))
    with tempfile.TemporaryDirectory() as folder:
        url = Settings(database_url=options.database or f"sqlite:///{folder}/bench.db").database
        figures = measured(url, options.workers, options.parts, options.batches, options.batch_seconds)
    print(
        "\n| database | workers | parts | batch s | outcomes | wall s | busy |\n|---|---|---|---|---|---|---|"
    )
    print(
        f"| {figures['database']} | {options.workers} | {options.parts} | {options.batch_seconds} | "
        f"{figures['outcomes']} | {figures['seconds']:.1f} | {figures['busy']:.1%} |"
    )
    print(f"\nbusy at least 95 %: {'met' if figures['busy'] >= 0.95 else 'missed'}")
    if options.json:
        options.json.write_text(json.dumps({"conditions": conditions(), **figures}, indent=2) + "\n")


def measured(url: str, workers: int, parts: int, batches: int, batch_seconds: float) -> dict[str, Any]:
    """Run one audit of `parts` parts."""
    migrate(url)
    database = Database(url)
    with database.write() as session:
        job = jobs.create(session, kind="audit", spec={})
        claim = jobs.claim(session, job.id, "planner", 600)
        assert claim is not None
        pieces = [Part("audit-clips", {"first": number}) for number in range(parts)]
        jobs.split(session, claim, pieces, total=parts * batches * _BATCH, unit="outcomes", max_attempts=1)
    busy = [0.0] * workers
    threads = [
        threading.Thread(target=work, args=(database, job.id, number, busy, batches, batch_seconds))
        for number in range(workers)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    with database.read() as session:
        found, state = outcomes.count(session, job.id), jobs.get(session, job.id).state
    assert (found, state) == (parts * batches * _BATCH, "queued"), (found, state)
    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    database.close()
    return {"database": kind, "outcomes": found, "seconds": seconds, "busy": sum(busy) / (workers * seconds)}


def work(
    database: Database, audit: str, number: int, busy: list[float], batches: int, batch_seconds: float
) -> None:
    """One worker, until no part is left."""
    draw = random.Random(number)
    owner = f"worker-{number}"
    while True:
        with database.write() as session:
            held = jobs.claim_part(session, owner, 600)
            first = None if held is None else int(jobs.get(session, held.job_id).spec["first"])
        if held is None or first is None:
            # A worker process waits for a message here, which costs nothing; parts never come back in this bench.
            return
        for batch in range(batches):
            seconds = batch_seconds * draw.uniform(0.5, 1.5)
            time.sleep(seconds)
            busy[number] += seconds
            start = (first * batches + batch) * _BATCH
            rows = [
                Outcome("m", "clean", start + clip, 0, "m", predicted=0, seconds=seconds / _BATCH)
                for clip in range(_BATCH)
            ]
            with database.write() as session:
                outcomes.add(session, held, rows)
            with database.read() as session:
                assert not jobs.cancel_requested(session, held)
        with database.write() as session:
            jobs.succeed(session, held, {})
        with database.write() as session:
            jobs.gather(session, audit)


if __name__ == "__main__":
    main()
