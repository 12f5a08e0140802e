"""Work on many videos at a time, with results in the videos' order. Torch-free."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE_SECONDS: Final = 0.1
_FAREWELL_SECONDS: Final = 5.0


class Left(Exception):
    """Nobody waits for this result any more."""


def in_order(
    items: Iterable[Item],
    work: Callable[[Item, Callable[[], None]], Result],
    *,
    workers: int,
    ahead: int,
    check: Callable[[], None] | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """(item, `work(item, unless_left)`) for each of `items`, in their order.

    At most `workers` threads work at a time, and at most `ahead` results are made or wait; threads do, where the work
    is waiting for a child process. `work` should call its second argument now and then, which raises once the
    iteration was left. While a result is waited for, `check` is called ten times a second, in the caller's thread;
    what it raises is raised here, and what `work` raises in its place. Raises ValueError for less than one of either.
    """
    if workers < 1 or ahead < 1:
        raise ValueError(f"workers and ahead are at least 1, not {workers} and {ahead}")
    return _in_order(items, work, workers, ahead, check)


def _in_order(
    items: Iterable[Item],
    work: Callable[[Item, Callable[[], None]], Result],
    workers: int,
    ahead: int,
    check: Callable[[], None] | None,
) -> Generator[tuple[Item, Result], None, None]:
    left = threading.Event()
    unless_left = partial(_unless, left)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ordered-pool")
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item, unless_left)))
            if len(waiting) >= ahead:
                yield _first(waiting, check)
        while waiting:
            yield _first(waiting, check)
    finally:
        left.set()
        pool.shutdown(wait=False, cancel_futures=True)
        # A decoder that hangs is ended by its own limits; nobody waits for those here. What was cancelled before it
        # began never counts as ended.
        begun = [future for _, future in waiting if not future.cancelled()]
        wait(begun, timeout=_FAREWELL_SECONDS)


def _first(
    waiting: "deque[tuple[Item, Future[Result]]]", check: Callable[[], None] | None
) -> tuple[Item, Result]:
    item, future = waiting[0]
    while not future.done():
        if check is not None:
            check()
        wait([future], timeout=_PATIENCE_SECONDS)
    waiting.popleft()
    return item, future.result()


def _unless(left: threading.Event) -> None:
    if left.is_set():
        raise Left
