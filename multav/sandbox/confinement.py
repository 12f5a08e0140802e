"""How a child process ties its own hands before it reads the first byte of a file. Runs in the child."""

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import sys
from typing import TypedDict

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CPU_GRACE_SECONDS = 5
_OPEN_FILES = 64


class Bounds(TypedDict):
    """What the parent allows: seconds of processor time, bytes of address space, bytes of a written file."""

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int


def confine(bounds: Bounds, *, lifeline: int, opens_files: bool | None = None) -> None:
    """Take limits on time, memory and files, leave the network, and die with the owner of `lifeline`.

    `opens_files` says whether files will be opened for writing by name (by default those who may write do); who
    writes to a descriptor only can leave the network in one more way.
    Where the kernel refuses a namespace the child stays in the parent's: the demuxer's whitelists hold anyway.
    """
    _die_with(lifeline)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, bounds["cpu_seconds"], grace=_CPU_GRACE_SECONDS)
    _limit(resource.RLIMIT_AS, bounds["memory_bytes"])
    _limit(resource.RLIMIT_FSIZE, bounds["file_bytes"])
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _leave_network(writes_files=bounds["file_bytes"] > 0 if opens_files is None else opens_files)


def _die_with(lifeline: int) -> None:
    """End this process (SIGIO) when the other end of the pipe `lifeline` closes, as it does when its owner dies.

    Chosen over PR_SET_PDEATHSIG, which fires already when the *thread* that started the child ends.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):
        sys.exit(1)


def _limit(kind: int, value: int, grace: int = 0) -> None:
    """The soft limit ends with a signal that can be told apart (SIGXCPU), the hard one `grace` later with SIGKILL."""
    _, hard = resource.getrlimit(kind)
    ceiling = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
    resource.setrlimit(kind, (min(value, ceiling), ceiling))


def _leave_network(*, writes_files: bool) -> None:
    """Move to an empty network namespace.

    A user namespace, the way in for ordinary users, would take root's right to write in others' folders.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        if libc.unshare(_CLONE_NEWNET) and not writes_files:
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
