"""A child process that is kept alive, and that never outlives its supervisor."""

import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from functools import partial

from multav.die_with_parent import die_with_parent

_log = logging.getLogger(__name__)
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_LIVED_WELL_SECONDS = 30.0


@dataclass
class Supervised:
    """One command, started again with growing pauses when it ends by itself.

    It runs in a session of its own, so that Ctrl-C reaches the supervisor alone and the order of stopping is the
    supervisor's; and the kernel ends it (`death_signal`) when the supervisor dies, however that happens. `held`
    are descriptors that it keeps open for as long as it lives.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    held: tuple[int, ...] = ()
    death_signal: signal.Signals = signal.SIGKILL
    process: subprocess.Popen[bytes] | None = None
    _pause: float = 0.0
    _next_start: float | None = None
    _started: float = field(default=0.0)

    def start(self) -> None:
        """Start the command. Call it from the main thread: the tie to the supervisor is one to that thread."""
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self.held,
            preexec_fn=partial(die_with_parent, os.getpid(), self.death_signal),
        )
        _log.info("%s: process %d", self.name, self.process.pid)

    @property
    def running_seconds(self) -> float:
        """For how long the present process has run; 0 when there is none."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        return time.monotonic() - self._started

    def keep_alive(self) -> None:
        """Start the command again if it has ended and its pause is over."""
        if self.process is None or self.process.poll() is None:
            return
        moment = time.monotonic()
        if self._next_start is None:
            lived_well = moment - self._started > _LIVED_WELL_SECONDS
            self._pause = _FIRST_PAUSE if lived_well else min(_LONGEST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
            self._next_start = moment + self._pause
            _log.error(
                "%s ended with %d; starting it again in %.1f s",
                self.name,
                self.process.returncode,
                self._pause,
            )
        if moment >= self._next_start:
            # What the dead process left behind in its session must not run beside its successor.
            self._signal_group(signal.SIGKILL)
            self._next_start = None
            self.start()

    def kill(self) -> None:
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

    def _signal_group(self, number: signal.Signals) -> None:
        assert self.process is not None, "only started processes are signalled"
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return
