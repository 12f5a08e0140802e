"""Lends this worker's machine to a training that another worker has: ranks of it run here until it is over."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from multav.errors import Cancelled, Interrupted
from multav.training.request import TrainingRequest
from store import jobs
from worker import training_order
from worker.agent_process import Agent, end_agent, start_agent
from worker.many_devices import refuse_beyond_machine
from worker.meeting import Host, Meeting, own_address
from worker.own_order import own_order, videos_of
from worker.training_order import MAX_RESTARTS, TrainingOrder

if TYPE_CHECKING:
    from worker.process import WorkerProcess
    from worker.running_job import RunningJob

KIND: Final = "training-host"
GATHERING_SECONDS: Final = 600.0
"""For how long the hosts of a training wait until they are complete."""
SHARE_OF_SHUTDOWN: Final = 0.6
"""What the other processes of a training get of the time that a worker may take to stop."""
_LOOK_SECONDS: Final = 0.1
_PAUSE_SECONDS: Final = 1.0


def run_training_host(running: "RunningJob", process: "WorkerProcess") -> dict[str, Any]:
    """Take part until the training's leader has no use for it; whether there was a training to take part in."""
    assert running.job.parent_id is not None, "it runs beside a training"
    with running.database.read() as session:
        training = jobs.get(session, running.job.parent_id)
    if training.state != "running" or training.owner is None:
        return {"joined": False}
    request = TrainingRequest.parse(training.spec)
    host = Host(
        Meeting.of(running.job.spec), own_address(running.settings), leads=False, patience=GATHERING_SECONDS
    )
    order = own_order(request, videos_of(request, process), process, leads=False)
    refuse_beyond_machine(order.devices_here, cuda=order.cuda)
    with process.folders.open() as folder:
        order.write(folder)
        _take_part(running, folder.absolute(), order, host)
    return {"joined": True}


def _take_part(running: "RunningJob", folder: Path, order: TrainingOrder, host: Host) -> None:
    """Until the ranks have ended well, or the leader lets go; what dies is started again, a few times."""
    for _ in range(MAX_RESTARTS + 1):
        agent = start_agent(folder, order, MAX_RESTARTS, host)
        try:
            _watch(running, agent, folder)
        finally:
            end_agent(agent)
        if agent.returncode == 0:
            return
        time.sleep(_PAUSE_SECONDS)
        running.check()


def _watch(running: "RunningJob", agent: Agent, folder: Path) -> None:
    """Until the agent has ended. A worker that is to stop has the whole training stop and keep a checkpoint first."""
    stop: Cancelled | Interrupted | None = None
    until = 0.0
    while agent.poll() is None:
        # How long a training may take without a result is the leader's affair.
        running.advanced()
        if stop is None:
            try:
                running.check()
            except (Cancelled, Interrupted) as error:
                stop = error
                until = time.monotonic() + SHARE_OF_SHUTDOWN * running.settings.shutdown_seconds
                if isinstance(error, Interrupted):
                    (folder / training_order.STOP).write_text("interrupted")
        elif time.monotonic() > until:
            break
        time.sleep(_LOOK_SECONDS)
    if stop is not None:
        raise stop
