"""A service of our own for the time of a long command: the embedded one, as a child process."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from multav.die_with_parent import die_with_parent
from multav.errors import DependencyDown

_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 60.0
_LEFTOVER_SECONDS: Final = 30.0
"""For so long a service that lost its command may still be stopping."""


@contextmanager
def own_service(data: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Start `python -m service` with its data in the folder `data`; its URL. It is stopped at the end in any case.

    The same folder again goes on where the service before it stopped. What it says goes to `service.log` there. Of
    MULTAV_ variables it knows `settings` alone: those of the shell may be another service's, with its database. SIGTERM
    and a terminal that is closed end the block as Ctrl-C does, and where this process is killed the service stops as
    well. Call it from the main thread. Raises `DependencyDown` when it does not come up.
    """
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    for each, handler in before.items():
        # Ignored is what `nohup` asks for.
        if handler is not signal.SIG_IGN:
            signal.signal(each, signal.default_int_handler)
    data.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MULTAV_")}
    environment |= {**settings, "MULTAV_DATA_DIR": str(data), "MULTAV_PORT": str(port)}
    child: subprocess.Popen[bytes] | None = None
    try:
        url, patience = f"http://127.0.0.1:{port}", time.monotonic() + _LEFTOVER_SECONDS
        while child is None or child.poll() is not None:
            child = _started(environment, data / "service.log")
            if not _comes_up(child, url):
                if child.poll() is None or time.monotonic() > patience:
                    raise DependencyDown(f"the service does not start: {_last_words(data / 'service.log')}")
                time.sleep(1.0)
        yield url
    finally:
        if child is not None:
            _stop(child)
        for each, handler in before.items():
            signal.signal(each, handler)


def _started(environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as said:
        # In a group of its own: Ctrl-C is ours to hand on, once.
        return subprocess.Popen(
            [sys.executable, "-m", "service"],
            env=environment,
            stdout=said,
            stderr=said,
            process_group=0,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),
        )


def _stop(child: "subprocess.Popen[bytes]") -> None:
    # Not SIGINT: who was started in the background of a script has inherited that it is ignored.
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _comes_up(child: "subprocess.Popen[bytes]", url: str) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5.0).is_success:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    return False


def _last_words(log: Path) -> str:
    """The last line of the log, which is where a service says why it ends, and where the log is."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return f"{next((line for line in reversed(lines) if line.strip()), 'it says nothing')} ({log})"
