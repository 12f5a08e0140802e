"""The child that writes one video file: pictures come on standard input, sound from an untrusted open file.

Reads `wire` messages (PICTUREs, then END); answers one SUMMARY when the file is complete, or ERROR.
"""

import os
import sys
import traceback
from fractions import Fraction
from typing import Any, Final

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from multav.sandbox import wire
from multav.sandbox.confinement import confine
from multav.video.audio_copy import AudioCopy
from multav.video.colour import from_rgb
from multav.video.container import words_of

_INPUT: Final = 0
_OUTPUT: Final = 1


def main(order: dict[str, Any]) -> None:
    """Run the order of the parent (see `encode.py`) and exit."""
    try:
        confine(order["bounds"], lifeline=order["lifeline"])
        summary = _Encoding(order).run()
        _send(wire.words(wire.SUMMARY, summary))
    except EOFError:
        pass  # the parent gave up; it removes the file
    except (MemoryError, av.error.MemoryError):
        allowed = order["bounds"]["memory_bytes"] // 2**20
        _say_error(f"encoding needs more than the {allowed} MiB of memory allowed")
    except (av.error.FFmpegError, OSError) as error:
        _say_error(words_of(error))
    except Exception:
        _say_error(traceback.format_exc()[-4000:])
    os._exit(0)


class _Encoding:
    """One file being written."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._time_base = Fraction(order["time_base"])
        self._reformatter = VideoReformatter()
        self._audio = AudioCopy(order["audio"], muxer=order["container"], max_pixels=order["max_pixels"])

    def run(self) -> dict[str, Any]:
        """Write the whole file; what it became."""
        with self._audio:
            container, stream = self._open()
            with container:
                self._audio.add_to(container)
                container.start_encoding()
                while (pts := self._next_picture()) is not None:
                    self._mux(container, stream, self._frame(pts))
                self._mux(container, stream, None)
                self._audio.copy_until(container, None)
                codec = stream.codec_context
                words = {"codec": codec.codec.canonical_name, "pixel_format": codec.pix_fmt}
        return {
            **words,
            "audio_copied": self._audio.copied,
            "audio_reason": self._audio.reason,
            "audio_streams": self._audio.streams,
        }

    def _open(self) -> tuple[OutputContainer, VideoStream]:
        order, tags = self._order, self._order["tags"]
        container = av.open(
            f"file:{order['path']}",
            "w",
            format=order["container"],
            container_options=order["container_options"],
        )
        stream = container.add_stream(
            order["codec"], rate=Fraction(order["frame_rate"]), options=order["options"]
        )
        codec = stream.codec_context
        codec.width, codec.height = order["width"], order["height"]
        codec.pix_fmt = order["pixel_format"]
        codec.time_base = self._time_base
        stream.time_base = self._time_base
        codec.thread_count = order["threads"]
        codec.sample_aspect_ratio = Fraction(order["sample_aspect_ratio"])
        codec.colorspace, codec.color_range = tags["matrix"], tags["range"]
        codec.color_primaries, codec.color_trc = tags["primaries"], tags["transfer"]
        return container, stream

    def _next_picture(self) -> int | None:
        """Fill a fresh frame from the parent; its pts, or None at the end.

        rgb24, or above 8 bits the planes of the encoder's own pixel format.
        """
        header = bytearray(wire.HEADER.size)
        _fill(memoryview(header))
        kind, pts, _ = wire.HEADER.unpack(header)
        if kind == wire.END:
            return None
        deep = self._order["bits"] > 8
        picture = VideoFrame(
            self._order["width"], self._order["height"], self._order["pixel_format"] if deep else "rgb24"
        )
        for plane in picture.planes:
            _fill_plane(plane, picture.width * (2 if deep else 3), picture.height)
        self._picture = picture
        return int(pts)

    def _frame(self, pts: int) -> VideoFrame:
        """The picture in the encoder's pixel format, with its time and colour tags."""
        tags = self._order["tags"]
        frame = self._picture
        if self._order["bits"] == 8:
            frame = from_rgb(
                self._reformatter,
                frame,
                self._order["pixel_format"],
                matrix=tags["matrix"],
                range=tags["range"],
            )
        frame.pts, frame.time_base = pts, self._time_base
        frame.colorspace, frame.color_range = tags["matrix"], tags["range"]
        frame.color_primaries, frame.color_trc = tags["primaries"], tags["transfer"]
        return frame

    def _mux(self, container: OutputContainer, stream: VideoStream, frame: VideoFrame | None) -> None:
        for packet in stream.encode(frame):
            seconds = None if packet.dts is None else packet.dts * packet.time_base
            container.mux(packet)
            if seconds is not None:
                self._audio.copy_until(container, seconds)


def _fill_plane(plane: VideoPlane, row: int, height: int) -> None:
    """Read `height` rows of `row` bytes into `plane`, whose rows may be padded."""
    view = memoryview(plane)
    if plane.line_size == row:
        _fill(view[: row * height])
        return
    packed = bytearray(row * height)
    _fill(memoryview(packed))
    for index in range(height):
        start = index * plane.line_size
        view[start : start + row] = packed[index * row : index * row + row]


def _fill(view: memoryview) -> None:
    """Read exactly `view`. Raises EOFError when the parent is gone."""
    while len(view):
        count = os.readv(_INPUT, [view])
        if count == 0:
            raise EOFError
        view = view[count:]


def _say_error(detail: str) -> None:
    try:
        _send(wire.words(wire.ERROR, {"code": "EncodingFailed", "detail": detail}))
    except OSError:
        sys.exit(1)


def _send(message: bytes) -> None:
    view = memoryview(message)
    while len(view):
        view = view[os.write(_OUTPUT, view) :]
