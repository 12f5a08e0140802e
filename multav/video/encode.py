"""A video file written from RGB pictures by a bounded child process, with another file's sound."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ValidationError

from multav.errors import EncodingFailed
from multav.sandbox import wire
from multav.sandbox.child import Child, ChildFailed
from multav.video.decode import regular_file
from multav.video.formats import FORMATS, OutputFormat
from multav.video.limits import Limits
from multav.video.picture import Picture

_MOST_BYTES: Final = 1 << 40


class _Written(BaseModel):
    """The encoder's last message."""

    codec: str
    pixel_format: str
    audio_copied: bool
    audio_reason: str | None
    audio_streams: int


class Writer:
    """Takes pictures in display order. What the file became is known after the `with` block of `encode`."""

    def __init__(self, child: Child, shape: tuple[int, int, int], bits: int = 8) -> None:
        self._child = child
        self._shape = shape
        self._peak = (1 << bits) - 1
        self._dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
        self._last: int | None = None
        self.frames = 0
        self.bytes = 0
        self.codec = ""
        self.pixel_format = ""
        self.audio_copied = False
        self.audio_streams = 0
        self.audio_reason: str | None = None

    def write(self, rgb: Picture, pts: int) -> None:
        """Append a picture (height, width, 3) at `pts` (in units of the writer's `time_base`).

        uint8 levels, or uint16 codes for a format of more than 8 bits. Waits while the encoder is busy. Raises
        ValueError for a wrong shape, a code that has too many bits or a `pts` that does not increase, and
        `EncodingFailed`.
        """
        if rgb.shape != self._shape or rgb.dtype != self._dtype:
            raise ValueError(
                f"a picture of {rgb.shape} {rgb.dtype} where {self._shape} {self._dtype} is written"
            )
        if self._peak not in (0xFF, 0xFFFF) and int(rgb.max()) > self._peak:
            raise ValueError(f"a code of {int(rgb.max())} where {self._peak} is the largest")
        if self._last is not None and pts <= self._last:
            raise ValueError(f"pts={pts} does not come after {self._last}")
        self._last = pts
        # Deep pictures travel as the planes of the encoder's own format: green, blue, red.
        stored = rgb if self._dtype == np.uint8 else rgb[..., (1, 2, 0)].transpose(2, 0, 1)
        levels = np.ascontiguousarray(stored).data.cast("B")
        with _as_encoding_failed():
            if not self._child.write(wire.picture_header(pts, len(levels)), levels):
                raise self._said(*self._child.read_header())
        self.frames += 1

    def finish(self, path: Path) -> None:
        """Wait until the file at `path` is complete. Called by `encode`."""
        if self.frames == 0:
            raise EncodingFailed("no picture was written")
        with _as_encoding_failed():
            if not self._child.write(wire.HEADER.pack(wire.END, 0, 0)):
                raise self._said(*self._child.read_header())
            kind, pts, length = self._child.read_header()
            if kind != wire.SUMMARY:
                raise self._said(kind, pts, length)
            written = _Written.model_validate(self._child.read_words(length))
            self._child.wait()
        self.bytes = path.stat().st_size
        self.codec, self.pixel_format = written.codec, written.pixel_format
        self.audio_copied, self.audio_reason = written.audio_copied, written.audio_reason
        self.audio_streams = written.audio_streams

    def _said(self, kind: bytes, _: int, length: int) -> EncodingFailed:
        if kind != wire.ERROR:
            return EncodingFailed("the encoder sent an unknown message")
        detail = self._child.read_words(length).get("detail")
        height, width, _ = self._shape
        return EncodingFailed(
            f"the encoder failed on pictures of {width}x{height} ({detail}): choose another output or another size"
        )


@contextmanager
def encode(
    path: Path | str,
    format: OutputFormat | str,
    *,
    width: int,
    height: int,
    time_base: str | Fraction,
    frame_rate: float | Fraction,
    crf: int | None = None,
    audio_from: Path | str | None = None,
    sample_aspect_ratio: str | Fraction = "1/1",
    limits: Limits | None = None,
    max_bytes: int = _MOST_BYTES,
) -> Iterator[Writer]:
    """Write a video of `width` x `height` pictures to `path` in a format of `FORMATS`, or one of its depths
    (`OutputFormat.at`).

    Pictures keep the timestamps that they are written with, in units of `time_base` (Matroska stores
    milliseconds); `frame_rate` only guides rate control and the last picture's duration. The audio streams of
    `audio_from` are copied untouched where the container takes them; `writer.audio_copied` and
    `writer.audio_reason` tell. The file appears at `path` when the block is left without an exception; on an
    exception the encoder is killed and nothing stays. Raises `EncodingFailed`.
    """
    form = FORMATS[format] if isinstance(format, str) else format
    limits, target = limits or Limits(), Path(path).absolute()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    order: dict[str, Any] = {
        "path": str(partial),
        "container": form.container,
        "container_options": dict(form.container_options),
        "codec": form.codec,
        "options": form.codec_options(crf),
        "pixel_format": form.pixel_format(width, height),
        "bits": form.bits,
        "tags": asdict(form.tags(height)),
        "width": width,
        "height": height,
        "time_base": str(Fraction(time_base)),
        "frame_rate": str(Fraction(frame_rate).limit_denominator(1001 * 1000)),
        "sample_aspect_ratio": str(Fraction(sample_aspect_ratio)),
        "threads": limits.threads,
        "max_pixels": limits.max_pixels,
    }
    try:
        with ExitStack() as stack:
            audio = None if audio_from is None else stack.enter_context(regular_file(audio_from))[0]
            files = [] if audio is None else [audio]
            child = stack.enter_context(
                Child(
                    "multav.video.encoder_child",
                    {**order, "audio": audio},
                    limits=limits,
                    file_bytes=max_bytes,
                    files=files,
                )
            )
            writer = Writer(child, (height, width, 3), form.bits)
            yield writer
            writer.finish(partial)
        partial.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


@contextmanager
def _as_encoding_failed() -> Iterator[None]:
    """An encoder that dies or hangs leaves no file."""
    try:
        yield
    except ChildFailed as failed:
        raise EncodingFailed(f"the encoder {failed.reason}") from failed
    except ValidationError as error:
        raise EncodingFailed("the encoder sent a malformed message") from error
