"""Fetching the next items in a thread, while the present one is worked on."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import Any, Final, TypeVar

Item = TypeVar("Item")

_AHEAD: Final = 4
_PATIENCE_SECONDS: Final = 0.05
_END: Final = object()


@contextmanager
def read_ahead(items: Iterable[Item], ahead: int = _AHEAD) -> Iterator[Iterator[Item]]:
    """While the block lasts, `items` are fetched in a thread, up to `ahead` of them before they are asked for.

    What fetching raises is raised where the item is asked for. Leaving the block waits for the item that is being
    fetched, so that its source may be closed afterwards.
    """
    waiting: Queue[Any] = Queue(maxsize=ahead)
    left = threading.Event()

    def fetch() -> None:
        try:
            for item in items:
                if not _put(waiting, (item, None), left):
                    return
        except BaseException as error:
            _put(waiting, (_END, error), left)
        else:
            _put(waiting, (_END, None), left)

    def fetched() -> Iterator[Item]:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    thread = threading.Thread(target=fetch, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield fetched()
    finally:
        left.set()
        _drain(waiting)
        thread.join()


def _put(waiting: "Queue[Any]", item: Any, left: threading.Event) -> bool:
    """Hand over `item` as soon as there is room; False when nobody waits for it any more."""
    while not left.is_set():
        try:
            waiting.put(item, timeout=_PATIENCE_SECONDS)
        except Full:
            continue
        return True
    return False


def _drain(waiting: "Queue[Any]") -> None:
    while True:
        try:
            waiting.get_nowait()
        except Empty:
            return
