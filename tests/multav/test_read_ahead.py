"""Reading ahead changes when items are fetched, and nothing else."""

import threading
import time
from collections.abc import Iterator

import pytest

from multav.read_ahead import read_ahead


def test_items_come_in_order_and_once() -> None:
    with read_ahead(iter(range(100)), ahead=3) as items:
        assert list(items) == list(range(100))
        assert list(items) == []


def test_a_few_items_are_fetched_before_they_are_asked_for_and_no_more() -> None:
    fetched: list[int] = []

    def source() -> Iterator[int]:
        for number in range(50):
            fetched.append(number)
            yield number

    with read_ahead(source(), ahead=3) as items:
        assert next(items) == 0
        deadline = time.monotonic() + 10
        while len(fetched) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        # The one that was taken, three that wait, and one in the hand of the thread.
        assert fetched == [0, 1, 2, 3, 4]


def test_an_error_is_raised_where_its_item_was_asked_for() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    with read_ahead(source()) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="broken"):
            next(items)


@pytest.mark.parametrize("taken", [0, 2])
def test_leaving_ends_the_thread_before_the_source_is_closed(taken: int) -> None:
    inside = threading.Event()

    def source() -> Iterator[int]:
        number = 0
        while True:
            inside.set()
            time.sleep(0.02)
            inside.clear()
            yield number
            number += 1

    with read_ahead(source()) as items:
        for _ in range(taken):
            next(items)
    assert not inside.is_set(), "the source is left alone"
    assert "read-ahead" not in {thread.name for thread in threading.enumerate()}


def test_one_may_read_ahead_of_another() -> None:
    with (
        read_ahead(iter(range(30)), ahead=1) as inner,
        read_ahead((2 * item for item in inner), ahead=1) as outer,
    ):
        assert next(outer) == 0
    assert "read-ahead" not in {thread.name for thread in threading.enumerate()}
