"""Lends this worker's machine to a training that another worker has: ranks of it run here until it is over."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from multav.errors import Cancelled, Interrupted, MultavError, WorkerLost
from multav.training import told_error
from multav.training.request import TrainingRequest
from store import jobs
from worker import training_order
from worker.agent_process import Agent, end_agent, start_agent
from worker.many_devices import refuse_beyond_machine
from worker.meeting import GATHERING_SECONDS, Host, Meeting, own_address
from worker.own_order import own_order, videos_of
from worker.training_order import MAX_RESTARTS, MET, NOBODY_CAME, NOT_REACHED, TrainingOrder

if TYPE_CHECKING:
    from worker.process import WorkerProcess
    from worker.running_job import RunningJob

SHARE_OF_SHUTDOWN: Final = 0.6
"""What the other processes of a training get of the time that a worker may take to stop."""
_LOOK_SECONDS: Final = 0.1
_PAUSE_SECONDS: Final = 1.0


def run_training_host(running: "RunningJob", process: "WorkerProcess") -> dict[str, Any]:
    """Take part until the training's leader has no use for it; `joined`: whether it met the others.

    Raises `WorkerLost` where it cannot, and what this machine or its ranks find wrong: the leader makes it the
    training's own problem.
    """
    assert running.job.parent_id is not None, "it runs beside a training"
    with running.database.read() as session:
        training = jobs.get(session, running.job.parent_id)
    if training.state != "running" or training.owner is None:
        return {"joined": False}
    address = own_address(running.settings)
    host = Host(Meeting.of(running.job.spec), address, leads=False, patience=GATHERING_SECONDS)
    try:
        request = TrainingRequest.parse(training.spec)
        order = own_order(request, videos_of(request, process), process, leads=False)
        refuse_beyond_machine(order.devices_here, cuda=order.cuda)
        with process.folders.open() as folder:
            order.write(folder)
            return {"joined": take_part(running, folder.absolute(), order, host)}
    except MultavError as error:
        raise told_error.of_host(error, address) from error


def take_part(running: "RunningJob", folder: Path, order: TrainingOrder, host: Host) -> bool:
    """Until the ranks have ended well, or the leader lets go; what dies is started again, a few times.

    Whether they met those of the other hosts. Raises the error of a rank, and `WorkerLost`.
    """
    met = False
    for _ in range(MAX_RESTARTS + 1):
        (folder / MET).unlink(missing_ok=True)
        agent = start_agent(folder, order, MAX_RESTARTS, host)
        try:
            _watch(running, agent, folder)
        finally:
            end_agent(agent)
        met = met or (folder / MET).exists()
        if agent.returncode in (0, NOBODY_CAME):
            # That others did not come is the leader's affair.
            return met
        # A leader that is done lets go.
        time.sleep(_PAUSE_SECONDS)
        running.check()
        if agent.returncode == NOT_REACHED and not met:
            raise WorkerLost(
                f"the worker that leads the training was not reached at {host.meeting.place}: hosts must reach each "
                "other on any port, by their names or by MULTAV_HOST_ADDRESS of each worker"
            )
    raise WorkerLost("processes of the training died too often; the worker's log says how")


def _watch(running: "RunningJob", agent: Agent, folder: Path) -> None:
    """Until the agent has ended. A worker that is to stop has the whole training stop and keep a checkpoint first.

    Raises the error of a rank as soon as there is one: those of other hosts wait for it in vain.
    """
    stop: Cancelled | Interrupted | None = None
    until = 0.0
    while True:
        # In this order: what is left by a process that has ended is not missed.
        ended = agent.poll() is not None
        error = training_order.error_in(folder)
        if error is not None:
            raise error
        if ended:
            break
        # How long a training may take without a result is the leader's affair.
        running.advanced()
        if stop is None:
            try:
                running.check()
            except (Cancelled, Interrupted) as asked:
                if not (folder / MET).exists():
                    raise
                stop = asked
                until = time.monotonic() + SHARE_OF_SHUTDOWN * running.settings.shutdown_seconds
                if isinstance(asked, Interrupted):
                    (folder / training_order.STOP).write_text("interrupted")
        elif time.monotonic() > until:
            break
        time.sleep(_LOOK_SECONDS)
    if stop is not None:
        raise stop
