"""How much memory a device can still give, and whether it has just refused some."""

from pathlib import Path
from typing import Final

import torch

_REFUSALS: Final = ("can't allocate memory", "out of memory", "bad_alloc", "Cannot allocate memory")
_GROUP: Final = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int | None:
    """Bytes that `device` has left; None where nobody says."""
    if device.type == "cuda":
        # What torch keeps for itself and does not use is free as well.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    if device.type != "cpu":
        return None
    figures = [figure for figure in (_of_the_machine(), _of_the_group()) if figure is not None]
    return min(figures, default=None)


def was_refused(error: BaseException) -> bool:
    """Whether `error` says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSALS)


def _of_the_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(sizes[0][1]) * 1024 if sizes else None


def _of_the_group() -> int | None:
    """What a container's limit leaves."""
    try:
        limit, used = ((_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return None if limit == "max" else max(int(limit) - int(used), 0)
