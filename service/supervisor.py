"""Keeps a set of child processes running until it is told to stop, then ends them in the reverse order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from service.supervised import Supervised

_TICK_SECONDS: Final = 0.5


class Supervisor:
    """Its children start in the order given to `start` and stop in the reverse order when the `with` block ends."""

    def __init__(self, stop: threading.Event, shutdown_seconds: float) -> None:
        self._stop = stop
        self._shutdown_seconds = shutdown_seconds
        self._children: list[Supervised] = []

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self._children):
            child.stop(self._shutdown_seconds)

    def start(self, child: Supervised) -> Supervised:
        """Start a child and look after it from now on."""
        self._children.append(child)
        child.start()
        return child

    def watch(self, each_tick: Callable[[], None]) -> None:
        """Keep every child alive until told to stop; `each_tick` is called about twice a second."""
        while not self._stop.wait(_TICK_SECONDS):
            for child in self._children:
                child.keep_alive()
            each_tick()


@contextmanager
def until_signalled() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; the former handlers are back when the block ends."""
    stop = threading.Event()

    def set_it(_: int, __: FrameType | None) -> None:
        stop.set()

    former = {number: signal.signal(number, set_it) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
