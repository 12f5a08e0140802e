"""What a figure was measured on, and what else the machine was doing."""

import os
import platform
from pathlib import Path

import torch


def conditions(device: str = "cpu") -> dict[str, str | int | float]:
    """Processor (and card), versions, threads, and the load average of the last minute."""
    card = {} if device == "cpu" else {"card": torch.cuda.get_device_name(device)}
    return {
        "processor": _processor(),
        "multiplies bfloat16": _multiplies_bfloat16(),
        **card,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
    }


def in_one_line(found: dict[str, str | int | float]) -> str:
    """`conditions()` as text."""
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _multiplies_bfloat16() -> str:
    able = torch.cpu.get_capabilities()
    return "+".join(name for name in ("amx_bf16", "avx512_bf16") if able.get(name)) or "no"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
