"""Processes that must not outlive the one that started them."""

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int | None = None, death_signal: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel send this process `death_signal` when the thread that started it ends, however that happens.

    If `parent`, by its id, is gone already, the process ends at once (SIGKILL).
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
