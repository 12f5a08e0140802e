"""The clips of many videos in order, decoded ahead by a few processes while earlier ones are worked on."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Final

from multav.datasets.clip_cache import ClipCache
from multav.datasets.clips import LoadedClip, load_clip
from multav.datasets.listing import ListedVideo
from multav.datasets.recipes import Recipe
from multav.errors import BadVideo
from multav.geometry import InputGeometry
from multav.video.limits import Limits

_PATIENCE_SECONDS: Final = 0.1
_FAREWELL_SECONDS: Final = 5.0


class _Left(Exception):
    """Nobody waits for this clip any more."""


def decode_ahead(
    videos: Iterable[ListedVideo],
    geometry: InputGeometry,
    recipe: Recipe,
    limits: Limits | None = None,
    *,
    cache: ClipCache | None = None,
    workers: int = 2,
    ahead: int = 8,
    check: Callable[[], None] | None = None,
) -> Iterator[tuple[ListedVideo, LoadedClip | BadVideo]]:
    """(video, its clip) for each of `videos`, in their order; where a video is bad, what is wrong with it.

    At most `workers` child processes decode at a time, and at most `ahead` clips wait (each of up to
    `multav.datasets.clips.MOST_BYTES`). While a clip is waited for, `check` is called ten times a second, in the
    caller's thread; what it raises is raised here. Leaving the iteration early ends what is being decoded: close the
    generator, as `contextlib.closing` does. Other errors than of a video (no memory, no space) are raised.
    """
    if workers < 1 or ahead < 1:
        raise ValueError(f"workers and ahead are at least 1, not {workers} and {ahead}")
    left = threading.Event()
    load = partial(
        _load,
        geometry=geometry,
        recipe=recipe,
        limits=limits or Limits(),
        cache=cache,
        check=partial(_unless, left),
    )
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode-ahead")
    waiting: deque[tuple[ListedVideo, Future[LoadedClip | BadVideo]]] = deque()
    try:
        for video in videos:
            waiting.append((video, pool.submit(load, video)))
            if len(waiting) >= ahead:
                yield _next(waiting, check)
        while waiting:
            yield _next(waiting, check)
    finally:
        left.set()
        pool.shutdown(wait=False, cancel_futures=True)
        # A decoder that hangs has its own limits; nobody waits for those here.
        wait([future for _, future in waiting], timeout=_FAREWELL_SECONDS)


def _next(
    waiting: "deque[tuple[ListedVideo, Future[LoadedClip | BadVideo]]]", check: Callable[[], None] | None
) -> tuple[ListedVideo, LoadedClip | BadVideo]:
    video, future = waiting[0]
    while not future.done():
        if check is not None:
            check()
        wait([future], timeout=_PATIENCE_SECONDS)
    waiting.popleft()
    return video, future.result()


def _load(
    video: ListedVideo,
    *,
    geometry: InputGeometry,
    recipe: Recipe,
    limits: Limits,
    cache: ClipCache | None,
    check: Callable[[], None],
) -> LoadedClip | BadVideo:
    check()
    try:
        if cache is None:
            return load_clip(video, geometry, recipe, limits, check=check)
        return cache.load(video, geometry, recipe, limits, check=check)
    except BadVideo as error:
        return error


def _unless(left: threading.Event) -> None:
    if left.is_set():
        raise _Left
