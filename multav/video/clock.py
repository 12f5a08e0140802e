"""Timestamps that a video can be written with again. Runs in the decoder child."""

from fractions import Fraction

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from multav.video.container import Refused
from multav.video.description import frame_rate_of, time_base_of


class Clock:
    """Strictly increasing times: the frames' own, made from the frame rate where one is missing.

    A time that does not come after the one before becomes the next tick, so that no frame is lost.
    """

    def __init__(self, stream: VideoStream, max_seconds: float) -> None:
        self._time_base = time_base_of(stream)
        self._step = max(1, round(1 / (frame_rate_of(stream) * self._time_base)))
        self._most_ticks = Fraction(max_seconds) / self._time_base
        self._max_seconds = max_seconds
        self._first: int | None = None
        self._last = 0
        self._shown = self._step

    @property
    def end(self) -> float:
        """Seconds at which the last frame that was read leaves the screen."""
        return float((self._last + self._shown) * self._time_base)

    def read(self, frame: VideoFrame) -> int:
        """The time of the next frame. Raises `Refused` beyond `max_seconds` from the first."""
        self._shown = max(self._step, frame.duration)
        if self._first is None:
            self._first = self._last = frame.pts if frame.pts is not None else 0
            return self._last
        pts = frame.pts if frame.pts is not None else self._last + self._step
        self._last = max(pts, self._last + 1)
        if self._last - self._first > self._most_ticks:
            raise Refused(
                "VideoTooLarge",
                f"the video is longer than the {self._max_seconds:g} s allowed: send a shorter part",
            )
        return self._last
