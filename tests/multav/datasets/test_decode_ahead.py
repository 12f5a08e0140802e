"""Clips in order, decoded ahead: nothing is dropped, nothing is left running."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from multav.datasets.clip_cache import ClipCache
from multav.datasets.clips import LoadedClip
from multav.datasets.decode_ahead import decode_ahead
from multav.datasets.listing import ListedVideo
from multav.datasets.ordered_pool import in_order
from multav.errors import BadVideo, Cancelled
from tests.multav.datasets import trees


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


@pytest.fixture
def videos(tmp_path: Path) -> list[ListedVideo]:
    """Six videos of 4 to 9 frames, of which the third is text and the fifth not there."""
    listed = []
    for index in range(6):
        path = trees.write_video(tmp_path / f"{index}.avi", trees.noise(4 + index))
        listed.append(ListedVideo(index, path.name, 0, path.name, path))
    (tmp_path / "2.avi").write_text("no video")
    (tmp_path / "4.avi").unlink()
    return listed


def test_clips_come_in_order_and_bad_videos_as_values(videos: list[ListedVideo], tmp_path: Path) -> None:
    cache = ClipCache(tmp_path / "cache", 10**7)
    for _ in range(2):
        found = list(decode_ahead(videos, trees.SMALL, "paper", cache=cache, workers=2, ahead=3))
        assert [video for video, _ in found] == videos
        assert [clip.frames if isinstance(clip, LoadedClip) else None for _, clip in found] == [
            4,
            5,
            None,
            7,
            None,
            9,
        ]
        bad = [clip for _, clip in found if isinstance(clip, BadVideo)]
        assert [each.code for each in bad] == ["not_a_video", "bad_video"]
    assert cache.bytes > 0


def test_cancelling_raises_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    before = children()
    path = trees.write_video(tmp_path / "a.avi", trees.noise(400, 120, 160))
    listed = [ListedVideo(index, str(index), 0, "a", path) for index in range(6)]
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled):
        list(decode_ahead(listed, trees.SMALL, "paper", workers=2, check=check))
    assert time.monotonic() - started < 6
    assert children() <= before


def test_leaving_early_leaves_no_process(videos: list[ListedVideo]) -> None:
    before = children()
    with closing(decode_ahead(videos, trees.SMALL, "paper", workers=2)) as clips:
        next(clips)
    assert children() <= before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ordered-pool")]


def test_no_more_work_at_a_time_and_no_more_results_waiting_than_said() -> None:
    lock, working, most, drawn = threading.Lock(), 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for drawn in range(1, 41):
            yield drawn - 1

    def work(item: int, unless_left: object) -> int:  # noqa: ARG001
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.002)
        with lock:
            working -= 1
        return item * item

    for taken, (item, result) in enumerate(in_order(items(), work, workers=3, ahead=5)):
        assert (item, result) == (taken, taken * taken)
        assert drawn == min(40, taken + 5)
    assert most == 3


def test_leaving_tells_those_at_work_and_does_not_wait_for_those_that_never_began() -> None:
    def work(item: int, unless_left: Callable[[], None]) -> int:
        until = time.monotonic() + 8
        while item > 0 and time.monotonic() < until:
            unless_left()
            time.sleep(0.002)
        return item

    results = in_order(range(9), work, workers=2, ahead=8)
    assert next(results) == (0, 0)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ordered-pool")]


def test_what_is_no_fault_of_a_video_is_raised() -> None:
    def work(item: int, unless_left: object) -> int:  # noqa: ARG001
        if item == 3:
            raise MemoryError
        return item

    results = in_order(range(9), work, workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(MemoryError):
        next(results)


def test_no_workers_no_work() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        decode_ahead([], trees.SMALL, "paper", workers=0)
    assert list(decode_ahead([], trees.SMALL, "paper")) == []
