"""The process that starts the ranks of this machine (`worker.training_agent`), as a worker starts and ends it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from store.settings import PREFIX
from worker.meeting import Host
from worker.training_order import TrainingOrder

_FAREWELL_SECONDS: Final = 5.0

Agent = subprocess.Popen[bytes]


def start_agent(folder: Path, order: TrainingOrder, restarts: int, host: Host | None) -> Agent:
    """Start what `order`, which lies in `folder`, wants of this machine; `host` says where it meets others."""
    # What the service's settings say (addresses with passwords among it) is none of their business.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment["OMP_NUM_THREADS"] = str(order.threads)
    arguments = [str(folder), *map(str, (order.devices_here, restarts, os.getpid()))]
    if host is not None:
        arguments.append(host.text)
    return subprocess.Popen(
        [sys.executable, "-m", "worker.training_agent", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def end_agent(agent: Agent) -> None:
    """End the agent and its ranks; when this returns none of them writes any more."""
    if agent.poll() is None:
        agent.terminate()
        with suppress(subprocess.TimeoutExpired):
            agent.wait(_FAREWELL_SECONDS)
    with suppress(ProcessLookupError):
        # Ranks die with it: each of them is tied to it.
        os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()
