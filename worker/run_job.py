"""One delivery of one message: claim the job, run it, end it. Whatever happens, the row ends right.

claim (of a part: whichever is to be run next) ── lost ──► nothing to do
  │
run the kind's runner, with a heartbeat beside it
  ├── result ───────► succeed
  ├── Cancelled ────► confirm_cancel
  ├── Interrupted ──► release (the worker shuts down, the job is paused, somebody else is in a hurry)
  ├── PutOff ───────► put_off (it cannot go on now: back to the queue, and no message for a while)
  ├── LeftToParts ──► write nothing: the job goes on in its parts, and their last one queues it again
  ├── ClaimLost ────► write nothing: somebody else has the job
  └── any error ────► fail, with the problem a user can act on
"""

import errno
import logging
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.orm import Session

from multav.errors import (
    Cancelled,
    Conflict,
    DependencyDown,
    InternalError,
    Interrupted,
    MultavError,
    NotFound,
    OutOfMemory,
)
from store import jobs
from store.database import Database
from store.jobs import Claim, ClaimLost, Job
from store.queue import Queue
from store.settings import Settings
from worker.heartbeat import heartbeat
from worker.runners.attack import run_attack
from worker.running_job import Flag, LeftToParts, PutOff, RunningJob

if TYPE_CHECKING:
    from worker.process import WorkerProcess

_log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 0.5
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)

Runner = Callable[[RunningJob, "WorkerProcess"], dict[str, Any]]
Transition = Callable[[Session, Claim], None]


def _when_needed(module: str, function: str) -> Runner:
    """A runner whose module is loaded with its first job: a worker starts sooner without statistics and reports."""

    def run(running: RunningJob, process: "WorkerProcess") -> dict[str, Any]:
        result: dict[str, Any] = getattr(import_module(module), function)(running, process)
        return result

    return run


RUNNERS: Final[Mapping[str, Runner]] = {
    "attack": run_attack,
    "scan": _when_needed("worker.runners.scan", "run_scan"),
    "training": _when_needed("worker.runners.training", "run_training"),
    "training-host": _when_needed("worker.runners.training_host", "run_training_host"),
    "audit": _when_needed("worker.runners.audit", "run_audit"),
    "audit-clips": _when_needed("worker.runners.audit_clips", "run_audit_clips"),
    "audit-examination": _when_needed("worker.runners.audit_examination", "run_audit_examination"),
}
"""What runs a job, by its kind: gives the result object, called with the job and the worker's process."""


def run_job(
    job_id: str,
    *,
    owner: str,
    database: Database,
    queue: Queue,
    settings: Settings,
    process: "WorkerProcess",
    shutting_down: Flag,
    runners: Mapping[str, Runner] = RUNNERS,
) -> None:
    """Run the job if it still waits. Returns when its row is right; raises only when the database stays away."""
    with database.write() as session:
        claim = _claim(session, job_id, owner, settings.lease_seconds)
        job = jobs.get(session, claim.job_id) if claim is not None else None
    if claim is None or job is None:
        _log.info("job %s does not wait: nothing to do", job_id)
        return
    _log.info("job %s (%s): attempt %d begins", job.id, job.kind, claim.attempt)
    running = RunningJob(job, claim, database, settings, shutting_down)
    with heartbeat(running):
        name, transition = _outcome(running, process, runners)
        # Still with a heartbeat: a database that is away for a moment must not cost a finished job its result.
        ended = transition is not None and _end_or_fail(running, transition)
    _log.info(
        "job %s: %s", job.id, name if ended or transition is None else f"{name}, but no longer ours to end"
    )
    _tell_others(job, name, database, queue)


def _claim(session: Session, job_id: str, owner: str, lease_seconds: float) -> Claim | None:
    """Take the job, or if it is a part of another the one that is to be run next."""
    try:
        job = jobs.get(session, job_id)
    except NotFound:
        return None
    if job.parent_id is not None:
        return jobs.claim_part(session, owner, lease_seconds)
    return jobs.claim(session, job_id, owner, lease_seconds)


def _tell_others(job: Job, ended_as: str, database: Database, queue: Queue) -> None:
    """Send the messages that the end of an attempt calls for. What is lost here, the sweeper sends."""
    waiting: list[tuple[str, str]] = []
    if ended_as == "released":
        waiting.append((job.id, job.kind))
    if ended_as == "left to its parts":
        with database.read() as session:
            waiting += [
                (part.id, part.kind) for part in jobs.parts(session, job.id) if part.state == "queued"
            ]
    elif job.parent_id is not None:
        with database.write() as session:
            if jobs.gather(session, job.parent_id):
                waiting.append((job.parent_id, jobs.get(session, job.parent_id).kind))
    sent = list(takewhile(lambda each: queue.nudge(*each), waiting))
    if sent:
        with database.write() as session:
            jobs.mark_nudged(session, [job_id for job_id, _ in sent])


def _outcome(
    running: RunningJob, process: "WorkerProcess", runners: Mapping[str, Runner]
) -> tuple[str, Transition | None]:
    """Run the job; what came of it, in a word, and the transition that ends it (None: nothing may be written)."""
    try:
        if running.job.kind not in runners:
            raise Conflict(f"this worker knows no jobs of kind {running.job.kind!r}")
        result = runners[running.job.kind](running, process)
    except Cancelled:
        return "cancelled", jobs.confirm_cancel
    except PutOff as put_off:
        cause = put_off.cause
        return f"put off ({cause})", lambda session, claim: jobs.put_off(session, claim, cause)
    except Interrupted:
        return "released", jobs.release
    except LeftToParts:
        return "left to its parts", None
    except ClaimLost:
        return "lost", None
    except Exception as error:
        described = as_problem(error, running.job.kind)
        level = logging.INFO if isinstance(error, MultavError) else logging.ERROR
        _log.log(level, "job %s failed", running.job.id, exc_info=error)
        return described.code, lambda session, claim: jobs.fail(session, claim, described.problem())
    return "succeeded", lambda session, claim: jobs.succeed(session, claim, result)


def _end_or_fail(running: RunningJob, transition: Transition) -> bool:
    """Write the job's end; a job whose end the database does not take fails. False: not ours to end."""
    try:
        return _end(running, transition)
    except DependencyDown:
        raise
    except Exception as error:
        _log.exception("job %s: its end is refused by the database", running.job.id)
        problem = as_problem(error, running.job.kind).problem()
        return _end(running, lambda session, claim: jobs.fail(session, claim, problem))


def _end(running: RunningJob, transition: Transition) -> bool:
    """Write the job's end, waiting for a database that is away; False when the job is no longer ours to end."""
    deadline = time.monotonic() + running.settings.lease_seconds
    while True:
        try:
            with running.database.write() as session:
                transition(session, running.claim)
        except ClaimLost:
            return False
        except DependencyDown:
            # A commit whose answer was lost may have been made; the guard of the next try tells.
            if time.monotonic() > deadline:
                raise
            _log.warning("job %s: its end cannot be written yet", running.job.id, exc_info=True)
            time.sleep(_RETRY_SECONDS)
        else:
            return True


def as_problem(error: Exception, kind: str) -> MultavError:
    """What a user is told of an error in a job of that kind: never a trace, always what to do."""
    if isinstance(error, MultavError):
        return error
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return DependencyDown(
            "the worker's disk is full: make room in its data folder (MULTAV_DATA_DIR), then resume the job"
        )
    if _is_out_of_memory(error):
        return OutOfMemory(f"the worker ran out of memory: {_smaller(kind)}")
    return InternalError(
        "the worker met a defect while it ran this job; its log has the details under the job's id"
    )


def _smaller(kind: str) -> str:
    """What takes less memory, in a job of that kind."""
    if kind.startswith("training"):
        return "take a smaller batch_size, a larger accumulation or smaller clips (start.geometry)"
    if kind.startswith("audit"):
        return "take a smaller batch_size"
    return "attack a smaller or shorter video, or one clip of it"


def _is_out_of_memory(error: Exception) -> bool:
    """Python's and CUDA's errors by their type; torch's allocator on the CPU only says so in words."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
