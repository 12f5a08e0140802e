"""A training on several devices, of this machine and perhaps of others: processes of their own.

The worker that has the job starts those of its machine and watches over them; what the first of them says counts.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from models.checkpoints import load, save
from models.pixel_classifier import PixelClassifier
from multav.errors import Cancelled, Interrupted, InvalidSpec, WorkerLost
from multav.progress import Progress
from multav.training.curve import CurvePoint
from multav.training.train import Trained
from worker import training_order
from worker.agent_process import Agent, end_agent, start_agent
from worker.meeting import Host
from worker.training_order import MAX_RESTARTS, NOBODY_CAME, RANKS_DIED, Notes, TrainingOrder

_LOOK_SECONDS: Final = 0.1
_WHAT_TO_DO: Final = (
    "If memory ran out, take smaller clips, a larger accumulation or fewer devices in a new training; else resume this "
    "one"
)
_log = logging.getLogger(__name__)


class HostsMissing(WorkerLost):
    """Not as many workers came in time as the training is for hosts."""


def refuse_beyond_machine(devices: int, *, cuda: bool) -> None:
    """Raise `InvalidSpec` for more devices than this machine has."""
    there = torch.cuda.device_count() if cuda else len(os.sched_getaffinity(0))
    if devices > there:
        detail = f"the worker's machine has {there} {'GPUs' if cuda else 'processor cores'}: ask for as many at most"
        raise InvalidSpec.at("/devices", detail)


@dataclass
class ManyDevices:
    """A training in `folder`, as `worker.training_order` has it. `patience`: seconds that its ranks get to stop in."""

    folder: Path
    order: TrainingOrder
    on_checkpoint: Callable[[Path, int], None]
    on_point: Callable[[CurvePoint], None]
    on_progress: Callable[[Progress], None]
    check: Callable[[], None]
    patience: float
    meet: Callable[[], Host] | None = None
    """Calls other hosts together, for each agent anew."""
    restarts: int = MAX_RESTARTS
    _restarted: int = field(default=0, init=False)
    """How often the agent that runs has started its ranks again, as far as they say."""

    def train(self, model: PixelClassifier) -> Trained:
        """As `multav.training.train.train` does it, from a checkpoint in the folder where there is one.

        When a rank or their agent is killed, all ranks go on from the last checkpoint. Raises `WorkerLost` when that
        happens more than `restarts` times, `HostsMissing`, and what `train` and `check` raise.
        """
        refuse_beyond_machine(self.order.devices_here, cuda=self.order.cuda)
        save(model, self.folder / training_order.BEGINNING, dtype=torch.float32)
        self.order.write(self.folder)
        notes, deaths = Notes(self.folder), 0
        while (how := self._run(notes, self.restarts - deaths)) is not None:
            deaths += self._restarted + 1
            if deaths > self.restarts:
                raise WorkerLost(
                    f"the process that starts the training's devices and watches over them {how}, and of this "
                    f"attempt's processes {deaths} died by now, where {self.restarts} are put up with; the worker's "
                    f"log says more. {_WHAT_TO_DO}"
                )
            _log.warning("the agent of the training's devices %s: another one goes on", how)
        told = json.loads((self.folder / training_order.RESULT).read_text())
        return Trained(
            model=load(self.folder / training_order.MODEL),
            look=CurvePoint(**told.pop("look")),
            remarks=tuple(told.pop("remarks")),
            **told,
        )

    @property
    def have_met(self) -> bool:
        """Whether the ranks of all hosts have found each other, since the agent that runs was started."""
        return (self.folder / training_order.MET).exists()

    def _run(self, notes: Notes, restarts: int) -> str | None:
        """One agent from its start to its end: None when all is done, else how it died."""
        self._restarted = 0
        (self.folder / training_order.MET).unlink(missing_ok=True)
        agent = start_agent(self.folder, self.order, restarts, None if self.meet is None else self.meet())
        try:
            self._watch(agent, notes)
        finally:
            end_agent(agent)
        if (self.folder / training_order.RESULT).exists():
            return None
        if agent.returncode in (0, RANKS_DIED):
            raise WorkerLost(
                f"processes of the training died too often; the worker's log says how. {_WHAT_TO_DO}"
            )
        if agent.returncode == NOBODY_CAME:
            raise HostsMissing(
                f"the training is for {self.order.request.hosts} hosts, and not as many workers came in time: let "
                "more workers run, and resume it"
            )
        if agent.returncode < 0:
            return f"was killed by {signal.Signals(-agent.returncode).name}"
        return f"ended with exit code {agent.returncode}"

    def _watch(self, agent: Agent, notes: Notes) -> None:
        """Until the agent has ended. Raises what stops the training, when the last checkpoint is handed on."""
        stop: Cancelled | Interrupted | None = None
        until = 0.0
        while True:
            # In this order: what is left by a process that has ended is not missed.
            ended = agent.poll() is not None
            error = training_order.error_in(self.folder)
            for kind, told in notes.fresh():
                self._hand_on(kind, told)
            if error is not None:
                raise error
            if ended and stop is not None and not (self.folder / training_order.RESULT).exists():
                raise stop
            if ended:
                break
            if stop is None:
                try:
                    self.check()
                except (Cancelled, Interrupted) as asked:
                    if not self.have_met:
                        # There is nobody who could stop, and nothing that is lost.
                        raise
                    stop, until = asked, time.monotonic() + self.patience
                    word = "cancelled" if isinstance(asked, Cancelled) else "interrupted"
                    (self.folder / training_order.STOP).write_text(word)
            elif time.monotonic() > until:
                _log.warning(
                    "the devices did not stop within %g s: they go on from an older checkpoint", self.patience
                )
                raise stop
            time.sleep(_LOOK_SECONDS)

    def _hand_on(self, kind: str, told: Any) -> None:
        if kind == "point":
            self.on_point(CurvePoint(**told))
        elif kind == "progress":
            self.on_progress(Progress(**told))
        elif kind == "checkpoint":
            self.on_checkpoint(self.folder / training_order.CHECKPOINT, told)
        elif kind == "restarts":
            self._restarted = told
