"""Colour conversion on several threads, in order. Runs in the decoder child; it costs more than decoding does."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from av.video.frame import VideoFrame

Rows = bytes | memoryview


def converted(
    frames: Iterator[VideoFrame], threads: int, converter: Callable[[], Callable[[VideoFrame], Rows]]
) -> Iterator[tuple[VideoFrame, Rows]]:
    """Each frame with its converted bytes, in the order of `frames`; at most `threads` frames are ahead.

    Every thread has its own converter, made by `converter`, because a swscale context serves one thread.
    """
    pending: deque[tuple[VideoFrame, Future[Rows]]] = deque()
    with ExitStack() as stack:
        workers = [
            (stack.enter_context(ThreadPoolExecutor(max_workers=1)), converter()) for _ in range(threads)
        ]
        for index, frame in enumerate(frames):
            pool, convert = workers[index % threads]
            pending.append((frame, pool.submit(convert, frame)))
            if len(pending) > threads:
                earlier, rows = pending.popleft()
                yield earlier, rows.result()
        while pending:
            earlier, rows = pending.popleft()
            yield earlier, rows.result()
