"""The frames of a video file, upright and in RGB, decoded by a bounded child process."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from multav import errors
from multav.sandbox import wire
from multav.sandbox.child import Child, ChildFailed
from multav.video.depth import read_bits, sent_white
from multav.video.info import VideoInfo
from multav.video.limits import Limits
from multav.video.picture import Picture

_REFUSALS: Final = {
    kind.__name__: kind
    for kind in (errors.NotAVideo, errors.UndecodableVideo, errors.NoFrames, errors.VideoTooLarge)
}

_LONGEST_DETAIL: Final = 4000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One picture (height, width, 3), upright RGB, and its time in `VideoInfo.time_base` units.

    uint8 levels, or uint16 codes where the video was opened for more than 8 bits and has them (`Frames.bits`).
    """

    rgb: Picture
    pts: int


class Summary(BaseModel):
    """What a whole pass over a video found. `damaged`: parts of the file were missing or could not be decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(ge=0)
    errors: int = Field(ge=0)
    damaged: bool


class _Opening(BaseModel):
    """The decoder's first message. `width` and `height` are those of the stored frames, before they are turned."""

    info: VideoInfo
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    turns: int = Field(ge=0, le=3)
    mirrored: bool


class Frames:
    """An open video: `info` and `bits` at once, the frames by iterating once, `summary` after the last.

    A value of a picture stands for value / (2^bits - 1).
    """

    def __init__(self, child: Child, *, max_pixels: int, most_bits: int = 8) -> None:
        self._child = child
        self._opening = self._open(max_pixels)
        self.info = self._opening.info
        self.summary: Summary | None = None
        self.bits = read_bits(self.info.pixel_format, self.info.bit_depth, most_bits)
        self._codes = None if self.bits == 8 else _codes_of_samples(self.info, self.bits)

    def __iter__(self) -> Iterator[Frame]:
        """The remaining frames in display order. Raises the `BadVideo` family."""
        while self.summary is None:
            with _as_bad_video():
                frame = self._next()
            if frame is not None:
                yield frame

    def _open(self, max_pixels: int) -> _Opening:
        kind, _, length = self._child.read_header()
        if kind != wire.INFO:
            raise self._refusal(kind, length)
        opening = _Opening.model_validate(self._child.read_words(length))
        if opening.width * opening.height > max_pixels:
            raise ChildFailed("announced pictures that are larger than allowed")
        return opening

    def _next(self) -> Frame | None:
        kind, pts, length = self._child.read_header()
        if kind == wire.SUMMARY:
            self.summary = Summary.model_validate(self._child.read_words(length))
            return None
        if kind != wire.PICTURE:
            raise self._refusal(kind, length)
        if self._codes is None:
            rgb = self._samples((self._opening.height, self._opening.width, 3), np.uint8, length)
            return Frame(self._upright(rgb), pts)
        planes = self._samples((3, self._opening.height, self._opening.width), np.uint16, length)
        green, blue, red = self._codes[planes]
        return Frame(self._upright(np.stack((red, green, blue), axis=-1)), pts)

    def _samples(
        self, shape: tuple[int, int, int], kind: type[np.unsignedinteger[Any]], length: int
    ) -> Picture:
        samples: Picture = np.empty(shape, kind)
        if length != samples.nbytes:
            raise ChildFailed("sent a picture of the wrong size")
        self._child.read_into(samples.data.cast("B"))
        return samples

    def _upright(self, stored: Picture) -> Picture:
        if self._opening.mirrored:
            stored = stored[:, ::-1]
        return np.ascontiguousarray(np.rot90(stored, self._opening.turns))

    def _refusal(self, kind: bytes, length: int) -> Exception:
        if kind != wire.ERROR:
            return ChildFailed("sent an unknown message")
        body = self._child.read_words(length)
        detail = str(body.get("detail"))[:_LONGEST_DETAIL]
        refusal = _REFUSALS.get(str(body.get("code")))
        if refusal is not None:
            return refusal(detail)
        _log.error("the decoder stumbled: %s", detail)
        return errors.UndecodableVideo(
            "the decoder met something in this file that it cannot read: the file is damaged; export it again"
        )


def _codes_of_samples(info: VideoInfo, bits: int) -> NDArray[np.uint16]:
    """For each 16-bit sample that may be sent the nearest code of `bits` bits; beyond white all are white.

    A table also holds what a damaged or hostile file sends beyond its own depth.
    """
    white = sent_white(info.pixel_format, info.bit_depth, matrix=info.color_matrix, range=info.color_range)
    peak = (1 << bits) - 1
    samples = np.arange(1 << 16, dtype=np.int64)
    return np.minimum((2 * samples * peak + white) // (2 * white), peak).astype(np.uint16)


@contextmanager
def decode(path: Path | str, limits: Limits | None = None, *, bits: int = 8) -> Iterator[Frames]:
    """Open the video at `path`: `.info`, and by iterating its frames in display order.

    Frames are rgb24, turned upright as the file's display matrix says; alpha is dropped; interlaced frames come
    as they are. With `bits` above 8 a deeper file is read with up to so many bits a channel, and `.bits` says with
    how many: RGB planes give the very codes of the file (rounded where they have more than `bits`).

    A frame is decoded when it is asked for (a few ahead), so memory does not grow with the video. Damaged parts are
    passed over as long as any frame decodes, and `.summary.damaged` says so afterwards. Leaving the block kills the
    decoder. Raises `NotAVideo`, `UndecodableVideo`, `NoFrames` or `VideoTooLarge`.
    """
    if not 8 <= bits <= 16:
        raise ValueError(f"bits={bits} is not within 8 to 16")
    with opened(path, limits or Limits(), task="decode", bits=bits) as frames:
        yield frames


@contextmanager
def opened(path: Path | str, limits: Limits, *, task: str, bits: int = 8) -> Iterator[Frames]:
    with regular_file(path) as (file, size):
        if size == 0:
            raise errors.NotAVideo("the file is empty (0 bytes): send a video")
        if size > limits.max_bytes:
            raise errors.VideoTooLarge(
                f"the file has {size} bytes where {limits.max_bytes} are allowed: send a smaller video"
            )
        order = {
            "task": task,
            "deep": bits > 8,
            "file": file,
            "bytes": size,
            "threads": min(limits.threads, 2),
            "max_pixels": limits.max_pixels,
            "max_frames": limits.max_frames,
            "max_seconds": limits.max_seconds,
        }
        with Child("multav.video.decoder_child", order, limits=limits, file_bytes=0, files=[file]) as child:
            with _as_bad_video():
                frames = Frames(child, max_pixels=limits.max_pixels, most_bits=bits)
            yield frames


@contextmanager
def regular_file(path: Path | str) -> Iterator[tuple[int, int]]:
    """A read-only descriptor of `path`, and its size; never a device, pipe or folder."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise errors.NotAVideo(f"{os.fspath(path)} is not a file")
        yield file, found.st_size
    finally:
        os.close(file)


@contextmanager
def _as_bad_video() -> Iterator[None]:
    """A decoder that dies or hangs says something about the file that it was given."""
    try:
        yield
    except (ChildFailed, ValidationError) as failed:
        reason = failed.reason if isinstance(failed, ChildFailed) else "sent a malformed message"
        raise errors.UndecodableVideo(
            f"the decoder {reason}: the file is damaged, hostile or too much for this server; "
            "encode it again or send a smaller one"
        ) from failed
