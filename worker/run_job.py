"""One delivery of one message: claim the job, run it, end it. Whatever happens, the row ends right.

claim ── lost ──► nothing to do
  │
run the kind's runner, with a heartbeat beside it
  ├── result ───────► succeed
  ├── Cancelled ────► confirm_cancel
  ├── Interrupted ──► release (the worker shuts down)
  ├── ClaimLost ────► write nothing: somebody else has the job
  └── any error ────► fail, with the problem a user can act on
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from multav.errors import Cancelled, Conflict, InternalError, Interrupted, MultavError, OutOfMemory, TimeLimit
from multav.progress import Progress
from store import jobs
from store.database import Database
from store.jobs import Claim, ClaimLost, Job
from store.queue import Queue
from store.settings import Settings
from worker.runners.attack import run_attack

_log = logging.getLogger(__name__)

# A check costs a query; attack steps can be faster than that.
_CHECK_SECONDS = 0.1
_PROGRESS_SECONDS = 0.5


class Flag(Protocol):
    """Something that is set once, e.g. when the worker shuts down."""

    def is_set(self) -> bool:
        """Whether it was set."""
        ...


@dataclass
class RunningJob:
    """What a runner sees of its job: the specification, and the way to report and to be stopped."""

    job: Job
    claim: Claim
    database: Database
    settings: Settings
    shutting_down: Flag
    deadline: float
    lost: threading.Event = field(default_factory=threading.Event)
    _checked: float = 0.0
    _reported: float = 0.0

    def check(self) -> None:
        """Raise when the work must stop: `Cancelled`, `Interrupted`, `ClaimLost` or `TimeLimit`."""
        if self.lost.is_set():
            raise ClaimLost(f"job {self.claim.job_id} was given to another worker")
        if self.shutting_down.is_set():
            raise Interrupted
        moment = time.monotonic()
        if moment - self._checked < _CHECK_SECONDS:
            return
        self._checked = moment
        if moment > self.deadline:
            raise TimeLimit(
                f"the job ran for more than {self.settings.job_time_limit_seconds:g} s: attack a shorter video or take "
                "fewer steps"
            )
        with self.database.read() as session:
            if jobs.cancel_requested(session, self.claim):
                raise Cancelled

    def report(self, progress: Progress) -> None:
        """Note progress in the row, at most every half second and always when the unit count is complete."""
        moment = time.monotonic()
        if moment - self._reported < _PROGRESS_SECONDS:
            return
        self._reported = moment
        with self.database.write() as session:
            jobs.report_progress(
                session,
                self.claim,
                done=progress.done,
                total=progress.total,
                unit=progress.unit,
                eta_seconds=progress.eta_seconds,
            )


Runner = Callable[[RunningJob, Any], dict[str, Any]]
RUNNERS: dict[str, Runner] = {"attack": run_attack}
"""What runs a job, by its kind: gives the result object, called with the job and the process's models."""


def run_job(
    job_id: str,
    *,
    owner: str,
    database: Database,
    queue: Queue,
    settings: Settings,
    models: Any,
    shutting_down: Flag,
) -> None:
    """Run the job if it still waits. Returns when its row is right; raises only when the database is away."""
    with database.write() as session:
        claim = jobs.claim(session, job_id, owner, settings.lease_seconds)
        job = jobs.get(session, job_id) if claim is not None else None
    if claim is None or job is None:
        _log.info("job %s does not wait: nothing to do", job_id)
        return
    _log.info("job %s (%s): attempt %d begins", job.id, job.kind, claim.attempt)
    deadline = time.monotonic() + settings.job_time_limit_seconds
    running = RunningJob(job, claim, database, settings, shutting_down, deadline)
    with _heartbeat(running):
        end = _outcome(running, models)
    try:
        with database.write() as session:
            end(session)
    except ClaimLost as lost:
        _log.warning("%s: its outcome is dropped", lost)
        return
    with database.read() as session:
        state = jobs.get(session, job_id).state
    _log.info("job %s: %s", job_id, state)
    if state == "queued" and queue.nudge(job_id):
        with database.write() as session:
            jobs.mark_nudged(session, [job_id])


def _outcome(running: RunningJob, models: Any) -> Callable[[Any], None]:
    """Run the job; the transition that ends it, still to be made."""
    claim = running.claim
    try:
        if running.job.kind not in RUNNERS:
            raise Conflict(f"this worker knows no jobs of kind {running.job.kind!r}")
        result = RUNNERS[running.job.kind](running, models)
    except Cancelled:
        return lambda session: jobs.confirm_cancel(session, claim)
    except Interrupted:
        return lambda session: jobs.release(session, claim)
    except ClaimLost as lost:
        problem = lost
        return lambda _: _raise(problem)
    except Exception as error:
        described = as_problem(error)
        _log.log(
            logging.INFO if isinstance(error, MultavError) else logging.ERROR, "job failed", exc_info=error
        )
        return lambda session: jobs.fail(session, claim, described.problem())
    return lambda session: jobs.succeed(session, claim, result)


def as_problem(error: Exception) -> MultavError:
    """What a user is told of an error: never a trace, always what to do."""
    if isinstance(error, MultavError):
        return error
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate" in str(error)
    ):
        return OutOfMemory(
            "the worker ran out of memory: attack a smaller or shorter video, or one clip of it"
        )
    return InternalError(
        "the worker met a defect while it ran this job; its log has the details under the job's id"
    )


def _raise(error: Exception) -> None:
    raise error


class _heartbeat:  # noqa: N801 - reads as a context manager
    """Prolongs the lease from a thread of its own, so that a long step does not look like a death."""

    def __init__(self, running: RunningJob) -> None:
        self._running = running
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        running = self._running
        while not self._stop.wait(running.settings.heartbeat_seconds):
            try:
                with running.database.write() as session:
                    jobs.heartbeat(session, running.claim, running.settings.lease_seconds)
            except ClaimLost:
                running.lost.set()
                return
            except Exception:
                _log.warning("a heartbeat of job %s failed", running.claim.job_id, exc_info=True)
