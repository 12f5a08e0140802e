"""Which frames make which window: a video cut into segments that can be attacked one after the other. Torch-free.

A *window* is one clip cut from a video: `geometry.frames` pictures, `geometry.stride` frames apart. Dense
coverage puts every frame into a window, the frames that a stride skips included: a run of `geometry.span`
frames holds `stride` interleaved windows, one per phase. Runs follow each other without overlap. When the
frames do not divide evenly, the last run ends with the video and overlaps the one before it; windows that
share frames form one `Sample` and are attacked together, so that no frame is attacked twice.

A video shorter than a run is sampled at the largest stride that fills a window, and one shorter than a
window is repeated from its start (paper-exact looping, as in the authors' UCF101 sampling).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from multav.geometry import InputGeometry

Picture = TypeVar("Picture")


@dataclass(frozen=True)
class Sample:
    """Frames that are attacked together, and the windows that they form.

    `frames` are positions in the segment; each window lists positions in `frames` (repeats when a short
    video loops).
    """

    frames: tuple[int, ...]
    windows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Segment(Generic[Picture]):
    """Consecutive pictures of a video with the samples that they form.

    `start` is the index in the video of the first picture, `first_window` the video-wide index of the first
    window of the first sample. Pictures in no sample pass through unchanged.
    """

    start: int
    pictures: tuple[Picture, ...]
    samples: tuple[Sample, ...]
    first_window: int

    @property
    def windows(self) -> int:
        """How many windows the segment holds."""
        return sum(len(sample.windows) for sample in self.samples)


def dense_segments(pictures: Iterable[Picture], geometry: InputGeometry) -> Iterator[Segment[Picture]]:
    """Cut a stream of pictures into segments in which every picture belongs to a window.

    Holds at most two runs (`2 * geometry.span` pictures) at a time, whatever the video's length.
    """
    span, waiting, start, windows = geometry.span, list[Picture](), 0, 0
    for picture in pictures:
        waiting.append(picture)
        # Once more than two runs wait, the first of them can no longer be the one that the tail overlaps.
        if len(waiting) > 2 * span:
            segment = Segment(start, tuple(waiting[:span]), _samples(span, geometry), windows)
            yield segment
            del waiting[:span]
            start += span
            windows += segment.windows
    while waiting:
        # Two whole runs are two segments; a run and a part are one, because they share frames.
        length = span if len(waiting) == 2 * span else len(waiting)
        segment = Segment(start, tuple(waiting[:length]), _samples(length, geometry), windows)
        yield segment
        del waiting[:length]
        start += length
        windows += segment.windows


def clip_segments(
    pictures: Iterable[Picture], geometry: InputGeometry, frames: int
) -> Iterator[Segment[Picture]]:
    """Cut a stream of `frames` pictures so that the one window in its middle is a segment of its own.

    Pictures before, between and after the window's pictures belong to no sample and pass through.
    """
    first, sample = _middle_window(frames, geometry)
    length = max(sample.frames) + 1
    waiting: list[Picture] = []
    for index, picture in enumerate(pictures):
        if not first <= index < first + length:
            yield Segment(index, (picture,), (), 0 if index < first else 1)
            continue
        waiting.append(picture)
        if len(waiting) == length:
            yield Segment(first, tuple(waiting), (sample,), 0)


def window_count(frames: int, geometry: InputGeometry) -> int:
    """How many windows dense coverage cuts from a video of `frames` frames."""
    span = geometry.span
    whole_runs = max(0, -(-frames // span) - 2)
    rest = frames - whole_runs * span
    lengths = (span, span) if rest == 2 * span else (rest,) if rest else ()
    tail = sum(len(sample.windows) for length in lengths for sample in _samples(length, geometry))
    return whole_runs * geometry.stride + tail


def middle_frames(frames: int, geometry: InputGeometry) -> frozenset[int]:
    """Indices of the frames in the one window in the middle of a video of `frames` frames."""
    first, sample = _middle_window(frames, geometry)
    return frozenset(first + position for position in sample.frames)


def _samples(length: int, geometry: InputGeometry) -> tuple[Sample, ...]:
    """The samples of a segment of `length` frames: a run, a run with an overlapping tail, or a short video."""
    window = geometry.frames
    if length < window:
        looped = tuple(index % length for index in range(window))
        return (Sample(tuple(range(length)), (looped,)),)
    stride = min(geometry.stride, length // window)
    samples = []
    for phase in range(stride):
        frames = tuple(range(phase, length, stride))
        windows = tuple(tuple(range(start, start + window)) for start in _starts(len(frames), window))
        samples.append(Sample(frames, windows))
    return tuple(samples)


def _starts(frames: int, window: int) -> Iterator[int]:
    """Where windows start within `frames` frames: one after the other, the last one flush with the end."""
    start, last = 0, frames - window
    yield start
    while start < last:
        start = min(start + window, last)
        yield start


def _middle_window(frames: int, geometry: InputGeometry) -> tuple[int, Sample]:
    """Index of the first frame of the window in the middle of the video, and the window as a sample."""
    window = geometry.frames
    if frames < window:
        return 0, _samples(frames, geometry)[0]
    stride = min(geometry.stride, frames // window)
    length = (window - 1) * stride + 1
    positions = tuple(range(0, length, stride))
    return (frames - length) // 2, Sample(positions, (tuple(range(window)),))
