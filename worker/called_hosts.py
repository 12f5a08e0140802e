"""The other hosts of a training, whom the worker that leads it calls, hears of, and lets go."""

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from multav.errors import DependencyDown, WorkerLost
from multav.training import told_error
from store import jobs, workers
from store.jobs import ClaimLost, Part
from store.queue import Queue
from worker.many_devices import HostsMissing
from worker.meeting import GATHERING_SECONDS, Host, Meeting, own_address
from worker.running_job import PutOff

if TYPE_CHECKING:
    from worker.running_job import RunningJob

KIND: Final = "training-host"
HOSTS_MISSING: Final = "hosts_missing"
"""The cause of the event when a training is put off because other hosts lack."""
_LOOK_SECONDS: Final = 1.0
# A training that has just called others gives them a chance to come before it gives way once more.
_AT_LEAST_SECONDS: Final = 10.0
# A part that has waited for so long finds no worker by itself.
_LACKING_SECONDS: Final = 2.0
_FRESH_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)


@dataclass
class CalledHosts:
    """`number` of them, for the training that `running` is. With 0 there is nobody to call, to hear of or to let go."""

    running: "RunningJob"
    queue: Queue
    number: int
    _called: list[str] = field(default_factory=list, init=False)
    _called_at: float = field(default=0.0, init=False)
    _looked: float = field(default=0.0, init=False)

    def meet(self) -> Host:
        """Call workers together, each for a host's share of the devices, in place of those that were called before.

        Raises `ClaimLost` and `DependencyDown`.
        """
        running = self.running
        address = own_address(running.settings)
        meeting = Meeting.at(address, self.number + 1)
        pieces = [Part(KIND, meeting.told)] * self.number
        with running.database.write() as session:
            self._called = jobs.invite(
                session, running.claim, pieces, max_attempts=running.settings.max_attempts
            )
        self._called_at = time.monotonic()
        for part_id in self._called:
            self.queue.nudge(part_id, KIND)
        return Host(meeting, address, leads=True, patience=GATHERING_SECONDS)

    def look(self, *, gathering: bool) -> None:
        """Raise the error of a host that failed; `gathering`: also `Interrupted` when others are to go first. Cheap.

        Others are attacks that wait, and (`PutOff`) older trainings that lack hosts: of two that have each what the
        other one lacks, one must let go.
        """
        moment = time.monotonic()
        if not self.number or moment - self._looked < _LOOK_SECONDS:
            return
        self._looked = moment
        self.raise_problem()
        if not gathering:
            return
        self._let_older_go_first()
        if moment - self._called_at > _AT_LEAST_SECONDS:
            self.running.give_way()

    def raise_problem(self) -> None:
        """Raise the error of the host that failed first, if one has."""
        try:
            with self.running.database.read() as session:
                problem = jobs.first_problem(session, self._called)
        except DependencyDown:
            _log.warning("job %s: nobody can say how its other hosts are", self.running.job.id, exc_info=True)
            return
        if problem is not None:
            raise told_error.from_problem(problem)

    def raise_missing(self, missing: HostsMissing) -> None:
        """Raise what it means that too few came in time: `PutOff` where there are enough workers, else the error."""
        try:
            with self.running.database.read() as session:
                there = len(workers.alive(session, within_seconds=_FRESH_SECONDS))
        except DependencyDown:
            there = self.number + 1
        if there > self.number:
            # They have other work now, and will come later.
            raise PutOff(HOSTS_MISSING) from missing
        raise WorkerLost(
            f"the training is for {self.number + 1} hosts, and not as many workers came in time: "
            f"{there} {'gives' if there == 1 else 'give'} a sign of life. Let more workers run, and resume it"
        ) from missing

    def let_go(self) -> None:
        """Let the others go. Those that do not hear of it find nobody to meet, or are let go by who leads next."""
        if not self.number:
            return
        try:
            with self.running.database.write() as session:
                jobs.dismiss(session, self.running.claim)
        except (DependencyDown, ClaimLost):
            _log.warning("job %s: its other hosts are not dismissed", self.running.job.id, exc_info=True)

    def _let_older_go_first(self) -> None:
        try:
            with self.running.database.read() as session:
                lacking = jobs.lacking_elsewhere(session, self.running.claim, after_seconds=_LACKING_SECONDS)
                if not lacking or lacking <= workers.idle(session, within_seconds=_FRESH_SECONDS):
                    return
        except DependencyDown:
            return
        raise PutOff(HOSTS_MISSING)
