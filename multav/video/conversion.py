"""Colour conversion on several threads, in order. Runs in the decoder child; it costs more than decoding does."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from av.video.frame import VideoFrame

from multav.video.colour import ToRgb


def converted(frames: Iterator[VideoFrame], threads: int) -> Iterator[tuple[VideoFrame, bytes | memoryview]]:
    """Each frame with its rgb24 bytes, in the order of `frames`; at most `threads` frames are ahead.

    Every thread has its own converter, because a swscale context serves one thread.
    """
    pending: deque[tuple[VideoFrame, Future[bytes | memoryview]]] = deque()
    with ExitStack() as stack:
        workers = [(stack.enter_context(ThreadPoolExecutor(max_workers=1)), ToRgb()) for _ in range(threads)]
        for index, frame in enumerate(frames):
            pool, to_rgb = workers[index % threads]
            pending.append((frame, pool.submit(to_rgb, frame)))
            if len(pending) > threads:
                earlier, rows = pending.popleft()
                yield earlier, rows.result()
        while pending:
            earlier, rows = pending.popleft()
            yield earlier, rows.result()
