"""What a runner sees of its job: the specification, and how it reports and is stopped."""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

from multav.errors import Cancelled, DependencyDown, Interrupted, TimeLimit
from multav.progress import Progress
from store import jobs, workers
from store.database import Database
from store.jobs import Claim, ClaimLost, Job
from store.settings import Settings

_log = logging.getLogger(__name__)

# A check costs a query; attack steps can be faster than that.
_CHECK_SECONDS: Final = 0.1
_PROGRESS_SECONDS: Final = 0.5
# An attack that has waited for so long finds no worker by itself.
_HURRY_SECONDS: Final = 0.5
_FRESH_SECONDS: Final = 10.0


class LeftToParts(Exception):
    """The job was split: it goes on in its parts, and this attempt has nothing more to write."""


class PutOff(Interrupted):
    """The job cannot go on now, and may later: it goes back to the queue for a while. `cause`: of its event."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Flag(Protocol):
    """Something that is set once, e.g. when the worker shuts down."""

    def is_set(self) -> bool:
        """Whether it was set."""
        ...


@dataclass
class RunningJob:
    """One attempt. `lost` is set by whoever finds that the claim is no longer valid."""

    job: Job
    claim: Claim
    database: Database
    settings: Settings
    shutting_down: Flag
    lost: threading.Event = field(default_factory=threading.Event)
    _started: float = field(default_factory=time.monotonic)
    _checked: float = 0.0
    _reported: float = 0.0
    _done: int | None = None

    def check(self) -> None:
        """Raise when the work must stop: `Cancelled`, `Interrupted`, `ClaimLost` or `TimeLimit`. Cheap."""
        if self.lost.is_set():
            raise ClaimLost(f"job {self.claim.job_id} was given to another worker")
        if self.shutting_down.is_set():
            raise Interrupted
        moment = time.monotonic()
        if moment - self._checked < _CHECK_SECONDS:
            return
        self._checked = moment
        if moment - self._started > self.settings.job_time_limit_seconds:
            if self.job.kind == "training":
                easier = (
                    "take a smaller batch_size, look at fewer validation clips or keep checkpoints more often"
                )
            elif self.job.parent_id is None:
                easier = "attack a shorter video or take fewer steps"
            else:
                easier = "take a smaller batch_size, fewer steps or smaller checks"
            raise TimeLimit(
                f"{self.settings.job_time_limit_seconds:g} s have passed since the job began or last kept a result: "
                f"{easier}, or have MULTAV_JOB_TIME_LIMIT_SECONDS raised"
            )
        self._obey()

    def advanced(self) -> None:
        """A result was kept: the time limit begins anew."""
        self._started = time.monotonic()

    def give_way(self) -> None:
        """Raise `Interrupted` when somebody waits for an attack and no worker is idle: long work can go on later.

        To be called where nothing is lost.
        """
        try:
            with self.database.read() as session:
                hurried = jobs.hurried(session, after_seconds=_HURRY_SECONDS)
                if not hurried or hurried <= workers.idle(session, within_seconds=_FRESH_SECONDS):
                    return
        except DependencyDown:
            return
        raise Interrupted

    def report(self, progress: Progress) -> None:
        """Note progress in the row, at most every half second and when the last unit is done."""
        moment = time.monotonic()
        ended = progress.done == progress.total != self._done
        if moment - self._reported < _PROGRESS_SECONDS and not ended:
            return
        self._reported, self._done = moment, progress.done
        try:
            with self.database.write() as session:
                jobs.report_progress(
                    session,
                    self.claim,
                    done=progress.done,
                    total=progress.total,
                    unit=progress.unit,
                    eta_seconds=progress.eta_seconds,
                )
        except DependencyDown:
            _log.warning("job %s: its progress is not noted", self.job.id, exc_info=True)

    def _obey(self) -> None:
        """Raise what somebody has asked for."""
        try:
            with self.database.read() as session:
                wish = jobs.wish(session, self.claim)
        except DependencyDown:
            # The work goes on while the database is away; whether the job is still ours, the heartbeat finds out.
            _log.warning("job %s: nobody can say whether it is cancelled", self.job.id, exc_info=True)
            return
        if wish == "cancel":
            raise Cancelled
        if wish == "rest":
            raise Interrupted
