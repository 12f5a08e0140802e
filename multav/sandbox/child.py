"""Bounded child processes: everything that touches a user's file or a codec happens in one of these.

The child is a fresh interpreter with few folders on its path (this package's and those of the libraries that it was
started for), an empty environment and its own session. Limits on time and memory are taken by the child itself
(`confinement`), waiting is bounded here. Whoever leaves the `with` block kills what is still alive and reaps it.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from multav.sandbox.confinement import Bounds
from multav.sandbox.wire import HEADER, MAX_JSON

_BOOT: Final = (
    "import sys,json,importlib;j=json.loads(sys.argv[1]);sys.path+=j['import_path'];"
    "importlib.import_module(j['module']).main(j)"
)
_PIPE_BYTES: Final = 1 << 20


class ProcessLimits(Protocol):
    """What a child may take; `multav.video.limits.Limits` describes each."""

    @property
    def wall_seconds(self) -> float:
        """Waiting for the child, all together."""

    @property
    def stall_seconds(self) -> float:
        """Waiting for the child without a byte."""

    @property
    def cpu_seconds(self) -> int:
        """Processor time."""

    @property
    def memory_bytes(self) -> int:
        """Address space."""


class ChildFailed(Exception):
    """The child died or had to be killed; `reason` completes a sentence that begins with its name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Child:
    """A running child: `stdin` and `stdout` are pipes whose waiting is counted against the limits.

    It runs `main(order)` of `module`, which finds the installed `libraries` and nothing else.
    """

    def __init__(
        self,
        module: str,
        order: dict[str, Any],
        *,
        limits: ProcessLimits,
        file_bytes: int,
        files: Sequence[int],
        libraries: tuple[str, ...] = ("av",),
    ) -> None:
        self._limits = limits
        self._waited = 0.0
        theirs, self._lifeline = os.pipe()
        bounds = Bounds(
            cpu_seconds=limits.cpu_seconds, memory_bytes=limits.memory_bytes, file_bytes=file_bytes
        )
        order = {
            "module": module,
            "import_path": _import_path(libraries),
            "bounds": bounds,
            "lifeline": theirs,
            **order,
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=_environment(),
                start_new_session=True,
                pass_fds=(theirs, *files),
                cwd="/",
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(theirs)
        assert self._process.stdin is not None, "asked for as a pipe"
        assert self._process.stdout is not None, "asked for as a pipe"
        self._in, self._out = self._process.stdin, self._process.stdout
        self._poll_out, self._poll_both = select.poll(), select.poll()
        self._poll_out.register(self._out, select.POLLIN)
        self._poll_both.register(self._out, select.POLLIN)
        self._poll_both.register(self._in, select.POLLOUT)
        for pipe in (self._in, self._out):
            os.set_blocking(pipe.fileno(), False)
            _widen(pipe.fileno())

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's and session's."""
        return self._process.pid

    def read_into(self, view: memoryview) -> None:
        """Fill `view` from the child's output. Raises `ChildFailed` when the child ends or stalls before that."""
        filled = 0
        while filled < len(view):
            self._wait(self._poll_out)
            count = os.readv(self._out.fileno(), [view[filled:]])
            if count == 0:
                raise self._ended()
            filled += count

    def read_header(self) -> tuple[bytes, int, int]:
        """Kind, pts and payload length of the child's next message."""
        header = bytearray(HEADER.size)
        self.read_into(memoryview(header))
        kind, pts, length = HEADER.unpack(header)
        return kind, pts, length

    def read_words(self, length: int) -> dict[str, Any]:
        """The JSON payload of a message whose header gave `length`."""
        if length > MAX_JSON:
            raise ChildFailed("sent a message that is too long")
        payload = bytearray(length)
        self.read_into(memoryview(payload))
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise ChildFailed("sent a message that is not a JSON object")
        return body

    def write(self, *parts: bytes | memoryview) -> bool:
        """Hand `parts` to the child; False when it has said something instead of reading on (an error), or ended."""
        for part in parts:
            view = memoryview(part)
            while len(view):
                ready = dict(self._wait(self._poll_both))
                if self._out.fileno() in ready:
                    return False
                try:
                    view = view[os.write(self._in.fileno(), view) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    # It is ending: of its two pipes this one was closed first.
                    return False
        return True

    def close_input(self) -> None:
        """No more is coming."""
        self._in.close()

    def wait(self) -> None:
        """Until the child has ended by itself. Raises `ChildFailed` when it does not, or not well."""
        try:
            self._process.wait(timeout=self._limits.stall_seconds)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"did not end within {self._limits.stall_seconds:g} s") from None
        if self._process.returncode:
            raise self._ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):
                pipe.close()
        os.close(self._lifeline)
        self._process.wait()

    def _wait(self, poll: select.poll) -> list[tuple[int, int]]:
        ready = poll.poll(0)
        if ready:
            return ready
        allowed = min(self._limits.stall_seconds, self._limits.wall_seconds - self._waited)
        started = time.monotonic()
        ready = poll.poll(max(allowed, 0) * 1000)
        self._waited += time.monotonic() - started
        if not ready:
            raise ChildFailed(f"gave no sign for {allowed:.0f} s (waited {self._waited:.0f} s in all)")
        return ready

    def _ended(self) -> ChildFailed:
        """Why the child's output ended, in words that follow "the decoder ..."."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return ChildFailed("closed its output without a word")
        if code == -signal.SIGXCPU:
            return ChildFailed("needed more processor time than is allowed")
        if code == -signal.SIGKILL:
            return ChildFailed("was killed (out of memory, or from outside)")
        if code < 0:
            return ChildFailed(f"crashed ({signal.Signals(-code).name})")
        return ChildFailed(f"ended unexpectedly (exit status {code})")


@cache
def _import_path(libraries: tuple[str, ...]) -> list[str]:
    """Where the child finds this package and `libraries`; nothing else is on its path."""
    folders = [str(Path(__file__).parents[2])]
    for library in libraries:
        found = importlib.util.find_spec(library)
        assert found is not None, f"{library} is a dependency"
        assert found.origin is not None, f"{library} has a file"
        # .../site-packages/torch/__init__.py, but .../site-packages/typing_extensions.py
        folders.append(str(Path(found.origin).parents[0 if found.submodule_search_locations is None else 1]))
    return list(dict.fromkeys(folders))


def _environment() -> dict[str, str]:
    # Few heaps, because each reserves 64 MiB of the address space limit; and pictures stay on them, because
    # fresh pages for every picture cost a sixth of the time.
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
        **kept,
    }


def _widen(pipe: int) -> None:
    """A megabyte of pipe, so that a frame takes few wake-ups; the default where the kernel says no."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
