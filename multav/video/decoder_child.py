"""The child that demuxes and decodes one untrusted file: `task` "probe" says what it is, "decode" sends frames.

Speaks `wire` on standard output: INFO once, then PICTUREs as stored (the parent turns them), then SUMMARY; or
ERROR at any time. Limits are counted here, frame by frame; headers are never believed.
"""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, Final

import av
from av.container import InputContainer
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from multav.sandbox import wire
from multav.sandbox.confinement import confine
from multav.video.clock import Clock
from multav.video.colour import ToRgb, bit_depth
from multav.video.container import Refused, first_video_stream, open_container, words_of
from multav.video.conversion import converted
from multav.video.deep_colour import ToDeepRgb
from multav.video.depth import sent_bits
from multav.video.description import Orientation, describe, has_whole_index, promised_end

_OUTPUT: Final = 1
_MOST_ERRORS_IN_A_ROW: Final = 512
_END_TOLERANCE_SECONDS: Final = 0.25


def main(order: dict[str, Any]) -> None:
    """Run the order of the parent (see `decode.py`) and exit."""
    try:
        confine(order["bounds"], lifeline=order["lifeline"])
        with open_container(order["file"], max_pixels=order["max_pixels"]) as container:
            _Decoding(container, order).run()
    except Refused as refused:
        _say_error(refused.code, refused.detail)
    except (MemoryError, av.error.MemoryError):
        allowed = order["bounds"]["memory_bytes"] // 2**20
        _say_error(
            "VideoTooLarge",
            f"decoding needs more than the {allowed} MiB of memory allowed: send a video with smaller frames",
        )
    except BrokenPipeError:
        pass
    except Exception:
        # FFmpeg and its bindings may stumble over anything in a hostile file, metadata that is no text for one.
        _say_error("Stumbled", traceback.format_exc()[-4000:])
    # Destructors of codec threads add nothing but time.
    os._exit(0)


class _Decoding:
    """One pass over the first video stream."""

    def __init__(self, container: InputContainer, order: dict[str, Any]) -> None:
        self._container = container
        self._order = order
        self._stream: VideoStream = first_video_stream(container)
        self._packets = 0
        self._errors = 0
        self._last_error: av.error.FFmpegError | None = None
        self._cut_off = False

    def run(self) -> None:
        self._prepare()
        frames = self._frames()
        first = next(frames, None)
        if first is None:
            raise self._nothing_decoded()
        self._check_size(first)
        orientation = Orientation.of(first)
        info = describe(self._container, self._stream, first, orientation)
        info["bytes"] = self._order["bytes"]
        _send(
            wire.words(
                wire.INFO,
                {
                    "info": info,
                    "width": first.width,
                    "height": first.height,
                    "turns": orientation.turns,
                    "mirrored": orientation.mirrored,
                },
            )
        )
        if self._order["task"] == "decode":
            self._send_all(first, frames)

    def _prepare(self) -> None:
        """Bound the decoder before it sees a packet."""
        self._check_size(self._stream.codec_context)
        for other in self._container.streams:
            if other.index != self._stream.index:
                other.discard = Discard.all
        codec = self._stream.codec_context
        codec.options = {"max_pixels": str(self._order["max_pixels"])}
        codec.thread_count = self._order["threads"]
        codec.thread_type = "FRAME" if self._order["task"] == "decode" else "NONE"

    def _check_size(self, shape: Any) -> None:
        allowed = self._order["max_pixels"]
        if shape.width * shape.height > allowed:
            raise Refused(
                "VideoTooLarge",
                f"frames of {shape.width}x{shape.height} have more than the {allowed} pixels allowed: "
                "scale the video down",
            )

    def _frames(self) -> Iterator[VideoFrame]:
        """Every frame that decodes, in display order; damaged packets are counted and passed over."""
        in_a_row = 0
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (MemoryError, av.error.MemoryError):
                raise
            except av.error.FFmpegError:
                self._cut_off = True
                packet = None
            if packet is None:
                return
            self._packets += packet.size > 0
            try:
                yield from packet.decode()
                in_a_row = 0
            except (MemoryError, av.error.MemoryError):
                raise
            except av.error.EOFError:
                return
            except av.error.FFmpegError as error:
                self._errors += 1
                self._last_error = error
                in_a_row += 1
                if in_a_row > _MOST_ERRORS_IN_A_ROW:
                    self._cut_off = True
                    return

    def _send_all(self, first: VideoFrame, rest: Iterator[VideoFrame]) -> None:
        clock = Clock(self._stream, self._order["max_seconds"])
        frames = self._within_limits(chain((first,), rest))
        bits = sent_bits(first.format.name, bit_depth(first)) if self._order["deep"] else 8
        count = 0
        for frame, rows in converted(
            frames, self._order["threads"], ToRgb if bits == 8 else partial(ToDeepRgb, bits)
        ):
            _send(wire.picture_header(clock.read(frame), len(rows)), rows)
            count += 1
        damaged = self._errors > 0 or self._cut_off or self._ends_early(clock.end)
        _send(wire.words(wire.SUMMARY, {"frames": count, "errors": self._errors, "damaged": damaged}))

    def _within_limits(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """The frames, as long as they are of one size and not too many."""
        size: tuple[int, int] | None = None
        for count, frame in enumerate(frames):
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise Refused(
                    "UndecodableVideo",
                    f"frame {count} is {frame.width}x{frame.height} where the video began with "
                    f"{size[0]}x{size[1]}: encode it again at one size",
                )
            if count == self._order["max_frames"]:
                raise Refused(
                    "VideoTooLarge",
                    f"the video has more than the {count} frames allowed: send a shorter part",
                )
            yield frame

    def _ends_early(self, end: float) -> bool:
        """Whether the container promises more than the file holds; `end` is when the last frame leaves the screen."""
        if has_whole_index(self._container):
            return self._packets < len(self._stream.index_entries)
        promised = promised_end(self._container, self._stream)
        return promised is not None and promised - end > max(_END_TOLERANCE_SECONDS, promised / 50)

    def _nothing_decoded(self) -> Refused:
        if self._last_error is None and not self._cut_off:
            return Refused("NoFrames", "the video stream holds no frame: send a video with at least one")
        name = self._stream.codec_context.name
        if self._last_error is not None and self._last_error.errno == errno.EINVAL:
            # What FFmpeg's decoders answer to a picture beyond `max_pixels`.
            return Refused(
                "VideoTooLarge",
                f"the pictures of the {name} stream say that they have more than the "
                f"{self._order['max_pixels']} pixels allowed: scale the video down",
            )
        why = "the file ends too early" if self._last_error is None else words_of(self._last_error)
        return Refused(
            "UndecodableVideo",
            f"no frame of the {name} stream can be decoded ({why}): the file is damaged, or its pictures have "
            f"far more than the {self._order['max_pixels']} pixels allowed; export it again",
        )


def _say_error(code: str, detail: str) -> None:
    try:
        _send(wire.words(wire.ERROR, {"code": code, "detail": detail}))
    except OSError:
        sys.exit(1)


def _send(*parts: bytes | memoryview) -> None:
    """All of `parts` to the parent, waiting while it is busy (this is the back-pressure)."""
    for part in parts:
        view = memoryview(part)
        while len(view):
            view = view[os.write(_OUTPUT, view) :]
