"""Which device a worker process computes on, and how many processes there are.

The parent process counts GPUs without creating a CUDA context, because a forked child cannot use one that its
parent has created; torch is imported in the children only.
"""

import os
from pathlib import Path

from store.settings import Settings


def gpu_count() -> int:
    """How many NVIDIA GPUs this machine shows, by the driver's files and CUDA_VISIBLE_DEVICES; torch-free."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def pool_size(settings: Settings) -> int:
    """Worker processes: as set, else one per GPU (if GPUs may be used), else one."""
    if settings.concurrency:
        return settings.concurrency
    return max(1, gpu_count()) if settings.device in ("auto", "cuda") else 1


def choose_device(settings: Settings, process_index: int) -> str:
    """The torch device of the pool's process number `process_index`; call it in the child only.

    `auto` takes CUDA when torch finds it, one GPU per process. Raises `ValueError` for a device that is not there.
    """
    import torch

    if settings.device == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        if settings.device == "auto":
            return "cpu"
        raise ValueError(f"device {settings.device!r} is asked for, but torch finds no CUDA device")
    if settings.device.startswith("cuda:"):
        return settings.device
    return f"cuda:{process_index % torch.cuda.device_count()}"


def share_threads(processes: int) -> int:
    """Give this process its share of the CPU's cores for torch; how many threads that is."""
    import torch

    threads = max(1, len(os.sched_getaffinity(0)) // max(1, processes))
    torch.set_num_threads(threads)
    return threads
