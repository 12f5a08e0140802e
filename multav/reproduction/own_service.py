"""A service of our own for the time of a long command: the embedded one, as a child process."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from multav.errors import DependencyDown

_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 60.0


@contextmanager
def own_service(data: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Start `python -m service` with its data in the folder `data`; its URL. It is stopped at the end in any case.

    The same folder again goes on where the service before it stopped. What it says goes to `service.log` there. SIGTERM
    ends the block as Ctrl-C does, so that no service is left alone. Raises `DependencyDown` when it does not come up.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    data.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = {**os.environ, **settings, "MULTAV_DATA_DIR": str(data), "MULTAV_PORT": str(port)}
    with (data / "service.log").open("ab") as log:
        # In a group of its own: Ctrl-C is ours to hand on, once.
        child = subprocess.Popen(
            [sys.executable, "-m", "service"],
            env=environment,
            stdout=log,
            stderr=log,
            process_group=0,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(child, url, data / "service.log")
            yield url
        finally:
            # Not SIGINT: who was started in the background of a script has inherited that it is ignored.
            child.terminate()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(child: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5.0).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise DependencyDown(f"the service does not start: the end of {log} says why")
