"""How much sooner two workers end an audit than one, through the real service.

    python bench/audit_scaling.py [--count 200] [--rounds 2]

A worker is given one core: first the whole service runs on one with one worker process, then on two with two. Both
audit the same clips of the built-in dataset; `seconds` are from the first claim to the last outcome, without the start
of the processes and without the report, and `share` is what two workers take of the time of one. Outcomes must be the
same.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from conditions import conditions, in_one_line

from multav.client import Client


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="clips")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    print(in_one_line(conditions()))
    print("\n| round | one worker s | two workers s | share | same outcomes |\n|---|---|---|---|---|")
    for number in range(options.rounds):
        one = audited(1, options.count, options.steps)
        two = audited(2, options.count, options.steps)
        print(
            f"| {number + 1} | {one['seconds']:.1f} | {two['seconds']:.1f} | {two['seconds'] / one['seconds']:.2f} | "
            f"{'yes' if one['sha256'] == two['sha256'] else 'no'} |",
            flush=True,
        )


def audited(workers: int, count: int, steps: int) -> dict[str, Any]:
    """One audit by so many workers on as many cores."""
    cores = sorted(os.sched_getaffinity(0))[:workers]
    port = 8700 + workers
    spec = {
        "subset": {"count": count},
        "attacks": [{"kind": "multav-linf", "steps": steps}, {"kind": "pgd-linf", "steps": steps}],
        "epsilons": {"multav-linf": [1.005, 1.01], "pgd-linf": [0.002, 0.004]},
        "early_stop": False,
        "checks": None,
        "examples": 0,
    }
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MULTAV_CONCURRENCY": str(workers), "MULTAV_LOG_LEVEL": "WARNING"}
        with (Path(folder) / "log").open("wb") as log:
            service = subprocess.Popen(
                [sys.executable, "-m", "service", "--port", str(port), "--data-dir", folder],
                env=environment,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        try:
            _until_ready(port, workers)
            with Client(f"http://127.0.0.1:{port}") as client:
                started = time.monotonic()
                job = client.audit(spec)
                total = 5 * count
                while client.job(job["id"])["progress"]["done"] != total:
                    time.sleep(0.05)
                seconds = time.monotonic() - started
                result = client.wait(job["id"])["result"]
            return {"seconds": seconds, "sha256": result["outcomes_sha256"]}
        finally:
            service.send_signal(signal.SIGINT)
            service.wait(60)


def _until_ready(port: int, workers: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            ready = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5)
            if ready.status_code == 200 and _processes(ready.json()) >= workers:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit("the service is not ready after two minutes")
        time.sleep(0.2)


def _processes(body: Any) -> int:
    """How many worker processes have reported."""
    return int(body["checks"]["workers"].get("alive", 1)) if isinstance(body.get("checks"), dict) else 1


if __name__ == "__main__":
    main()
