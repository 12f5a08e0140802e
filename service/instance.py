"""One service per data folder and per port, and what a killed one left behind is waited for."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LEFTOVER_SECONDS: Final = 20.0
_PORT_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.1


class CannotStart(Exception):
    """The service cannot start; the message says why and what to do."""


@contextmanager
def alone(data_dir: Path) -> Iterator[int]:
    """Hold the data folder; a descriptor that every child process must keep open. Raises `CannotStart`.

    Two locks: the supervisor's own, and one that its children hold as well. When a supervisor was killed, the
    second stays taken until the last of its children is gone, so that never two queues write to one folder.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "supervisor.lock").open("w") as own, (data_dir / "children.lock").open("w") as shared:
        if not _lock(own.fileno(), seconds=0):
            raise CannotStart(
                f"another multav service uses {data_dir.absolute()}: stop it, or choose another --data-dir"
            )
        if not _lock(shared.fileno(), seconds=_LEFTOVER_SECONDS):
            raise CannotStart(
                f"processes of an earlier service still use {data_dir.absolute()}: "
                f"find them with `fuser {data_dir.absolute() / 'children.lock'}` and end them"
            )
        yield shared.fileno()


def usable_port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises `CannotStart` when somebody else listens there."""
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            return free_port(host, port)
        except OSError as error:
            # A service that was killed a moment ago may still be letting go.
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"port {port} of {host} cannot be used ({error.strerror}): stop what listens there, "
                    "or choose another --port"
                ) from None
        time.sleep(_LOOK_SECONDS)


def free_port(host: str, port: int = 0) -> int:
    """A port of `host` that can be listened on: `port`, or any for 0. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the server does it: connections that are only fading away do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        bound: int = probe.getsockname()[1]
        return bound


def _lock(descriptor: int, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        else:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            return True
