"""A child process that is kept alive, and that never outlives its supervisor."""

import ctypes
import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import IO

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_SLOWEST_RESTART = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Supervised:
    """One command, started again with growing pauses when it ends by itself.

    It runs in a session of its own, so that Ctrl-C reaches the supervisor alone and the order of stopping is the
    supervisor's; and the kernel ends it (`death_signal`) when the supervisor dies, however that happens.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    output: IO[bytes] | None = None
    death_signal: int = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    _pause: float = 0.0
    _next_start: float = 0.0
    _started: float = field(default=0.0)

    def start(self) -> None:
        """Start the command."""
        supervisor = os.getpid()

        def tie_to_supervisor() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, self.death_signal)
            # The supervisor may have died between the fork and the line above.
            if os.getppid() != supervisor:
                os.kill(os.getpid(), self.death_signal)

        self._started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT if self.output else None,
            start_new_session=True,
            preexec_fn=tie_to_supervisor,
        )
        _log.info("%s: process %d", self.name, self.process.pid)

    def keep_alive(self) -> None:
        """Start the command again if it has ended and its pause is over."""
        if self.process is None or self.process.poll() is None:
            return
        moment = time.monotonic()
        if not self._next_start:
            lived = moment - self._started
            self._pause = min(_SLOWEST_RESTART, self._pause * 2 or 0.2) if lived < 30 else 0.2
            self._next_start = moment + self._pause
            _log.error(
                "%s ended with %d; starting it again in %.1f s",
                self.name,
                self.process.returncode,
                self._pause,
            )
        if moment >= self._next_start:
            self._next_start = 0.0
            self.start()

    def restart(self) -> None:
        """End the process group at once; `keep_alive` starts it again."""
        if self.process is not None and self.process.poll() is None:
            self._signal_group(signal.SIGKILL)
            self.process.wait()

    def stop(self, seconds: float) -> None:
        """Ask the process to end, and end its whole group when it has not after `seconds`."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                _log.warning("%s does not stop; ending it", self.name)
        self._signal_group(signal.SIGKILL)
        self.process.wait()

    def _signal_group(self, number: int) -> None:
        assert self.process is not None, "only started processes are signalled"
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return
