"""How many devices a training can get, as far as the service knows: that of workers on its own machine."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from store.workers import Worker

_GPUS = Path("/proc/driver/nvidia/gpus")


def most_devices(alive: Sequence[Worker]) -> tuple[int, str] | None:
    """How many any of these workers could get at most, and what they are; None where that is not known.

    It is known where all workers are on this machine. What one may use of it can be less than what it has.
    """
    if not all(on_this_machine(worker) for worker in alive):
        return None
    found = [_gpus() if worker.device.startswith("cuda") else _cores() for worker in alive]
    # A machine that does not say how many GPUs it has is not known either.
    return max(found) if found and all(count for count, _ in found) else None


def on_this_machine(worker: Worker) -> bool:
    """Whether the worker is on the machine that this is asked on: their names begin with their host's."""
    return worker.id.startswith(f"{socket.gethostname()}:")


def _gpus() -> tuple[int, str]:
    """By the driver's files."""
    return len(list(_GPUS.glob("*"))), "GPUs"


def _cores() -> tuple[int, str]:
    return os.cpu_count() or 0, "processor cores"
