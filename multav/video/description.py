"""What an opened container and its first decoded frame say about a video. Runs in the decoder child."""

import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, Self

from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from multav.video.colour import bit_depth, matrix_of, range_of
from multav.video.container import container_word

_USUAL_RATE: Final = Fraction(25)
_HIGHEST_RATE: Final = 1000
_INDEX_SAMPLE: Final = 4096
_MATROSKA_DURATION: Final = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,9})?)")


@dataclass(frozen=True)
class Orientation:
    """How a stored frame becomes upright: mirrored left to right first, then turned counterclockwise."""

    turns: int
    mirrored: bool

    @classmethod
    def of(cls, frame: VideoFrame) -> Self:
        """From the frame's display matrix; the nearest quarter turn, as players do."""
        found = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
        if found is None:
            return cls(0, False)
        a, b, _, c, d = struct.unpack_from("<5i", bytes(found))
        mirrored = a * d - b * c < 0
        if mirrored:
            a, b = -a, -b
        # (x, y) -> (a x + c y, b x + d y), y pointing down: a positive b turns the x axis clockwise.
        if abs(a) >= abs(b):
            return cls(0 if a >= 0 else 2, mirrored)
        return cls(3 if b > 0 else 1, mirrored)


def describe(
    container: InputContainer, stream: VideoStream, first: VideoFrame, orientation: Orientation
) -> dict[str, Any]:
    """The fields of `VideoInfo`, but for the file's size."""
    width, height = first.width, first.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if aspect <= 0:
        aspect = Fraction(1)
    if orientation.turns % 2:
        width, height, aspect = height, width, 1 / aspect
    rate = frame_rate_of(stream)
    seconds = _seconds(container, stream)
    frames = stream.frames or (round(seconds * rate) if seconds else None)
    return {
        "container": container_word(container.format.name),
        "codec": stream.codec_context.name,
        "width": width,
        "height": height,
        "rotation": -90 * orientation.turns % 360,
        "mirrored": orientation.mirrored,
        "frame_rate": float(rate),
        "time_base": _ratio(time_base_of(stream)),
        "frames": frames,
        "duration_seconds": seconds,
        "pixel_format": first.format.name,
        "bit_depth": bit_depth(first),
        "color_matrix": matrix_of(first)[1],
        "color_range": range_of(first)[1],
        "sample_aspect_ratio": _ratio(aspect),
        "variable_frame_rate": _varies(container, stream),
        "audio": [
            {
                "codec": audio.codec_context.name,
                "channels": audio.codec_context.channels,
                "sample_rate": audio.codec_context.sample_rate,
            }
            for audio in container.streams.audio
        ],
    }


def frame_rate_of(stream: VideoStream) -> Fraction:
    """Frames per second: the stream's average, else FFmpeg's guess, else 25."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and 0 < rate <= _HIGHEST_RATE:
            return rate
    return _USUAL_RATE


def time_base_of(stream: VideoStream) -> Fraction:
    """Seconds of one tick of the stream's timestamps."""
    return stream.time_base or Fraction(1, 90_000)


def has_whole_index(container: InputContainer) -> bool:
    """Whether every packet is listed in the container's index; only MP4 and its kin do that."""
    return container.format.name.startswith("mov")


def promised_end(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds at which the container says that the pictures end; None where sound may be what it speaks of."""
    tag = _MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", ""))
    if tag is not None:
        hours, minutes, seconds = tag.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if stream.duration and stream.duration > 0:
        return float(((stream.start_time or 0) + stream.duration) * time_base_of(stream))
    alone = len(container.streams) == 1
    return container.duration / 1e6 if alone and container.duration and container.duration > 0 else None


def _seconds(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.duration > 0 and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return container.duration / 1e6
    return None


def _varies(container: InputContainer, stream: VideoStream) -> bool | None:
    """Whether the steps between frames differ by more than rounding; from an index that lists them all."""
    if not has_whole_index(container):
        return None
    times = [entry.timestamp for entry, _ in zip(stream.index_entries, range(_INDEX_SAMPLE), strict=False)]
    steps = [later - earlier for earlier, later in pairwise(times)]
    return max(steps) - min(steps) > 1 if steps else None


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"
