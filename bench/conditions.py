"""What a figure was measured on, and what else the machine was doing."""

import os
import platform
from pathlib import Path

import torch


def conditions() -> dict[str, str | int | float]:
    """Processor, versions, threads, and the load average of the last minute."""
    return {
        "processor": _processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
    }


def in_one_line(found: dict[str, str | int | float]) -> str:
    """`conditions()` as text."""
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
