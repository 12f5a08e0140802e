"""Opening an untrusted file: only containers whose first bytes we know, nothing beyond the file. In a child.

FFmpeg's own guess is not asked: a text file may be a playlist or a concat script that makes it open other files
and addresses. The demuxer named by the magic bytes is the only one allowed, and no protocol is.
"""

import io
import os
from typing import Final

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

_QUICKTIME: Final = "mov,mp4,m4a,3gp,3g2,mj2"
_ATOMS: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})
_MPEG_TS_PACKET: Final = 188


class Refused(Exception):
    """The file is refused: `code` is a class name of the `BadVideo` family."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def open_container(file: int, *, max_pixels: int) -> InputContainer:
    """The container in the open file descriptor `file`. Raises `Refused` where it is none that is read.

    `max_pixels` keeps FFmpeg from decoding a larger picture while it looks into the streams.
    """
    raw = io.FileIO(file, "rb", closefd=False)
    raw.seek(0)
    demuxer = demuxer_of(raw.read(2 * _MPEG_TS_PACKET + 16))
    if demuxer is None:
        raise Refused(
            "NotAVideo",
            "the file is not in a video container that is read here: "
            "send MP4, MOV, Matroska, WebM, AVI, MPEG-TS, MPEG-PS, FLV, Ogg, ASF/WMV or GIF",
        )
    return open_only_as(demuxer, raw, max_pixels=max_pixels)


def open_only_as(demuxer: str, raw: io.FileIO, *, max_pixels: int) -> InputContainer:
    """The container in `raw`, read by `demuxer` or not at all, and nothing but `raw`. Raises `Refused`."""
    raw.seek(0)
    options = {
        "format_whitelist": demuxer,
        "protocol_whitelist": "none",
        "probesize": str(4 << 20),
        "analyzeduration": "4000000",
        "max_pixels": str(max_pixels),
    }
    try:
        # Titles and the like need not be text in UTF-8; nothing here reads them.
        return av.open(raw, "r", options=options, buffer_size=1 << 17, metadata_errors="replace")
    except MemoryError:
        raise
    except av.error.FFmpegError as error:
        raise Refused(
            "UndecodableVideo",
            f"the {container_word(demuxer)} file cannot be opened ({words_of(error)}): "
            "it is damaged or was cut off; export it again",
        ) from error


def demuxer_of(start: bytes) -> str | None:
    """FFmpeg's name of the one demuxer that may read a file that starts with these bytes."""
    if start[4:8] in _ATOMS:
        return _QUICKTIME
    if start[:4] == b"RIFF" and start[8:11] == b"AVI":
        return "avi"
    if start[:1] == b"\x47" and start[_MPEG_TS_PACKET : _MPEG_TS_PACKET + 1] == b"\x47":
        return "mpegts"
    signatures = {
        b"\x1aE\xdf\xa3": "matroska,webm",
        b"FLV\x01": "flv",
        b"OggS": "ogg",
        b"\x30\x26\xb2\x75": "asf",
        b"\x00\x00\x01\xba": "mpeg",
        b"GIF8": "gif",
    }
    return signatures.get(start[:4])


def container_word(demuxer: str) -> str:
    """The short name of a container for people and JSON."""
    return {_QUICKTIME: "mp4", "matroska,webm": "matroska"}.get(demuxer, demuxer)


def first_video_stream(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures (cover art is none). Raises `Refused` with NoFrames."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    has = "only sound" if container.streams.audio else "no stream of pictures"
    raise Refused("NoFrames", f"the file holds {has}: send a video with at least one frame")


def words_of(error: Exception) -> str:
    """FFmpeg's words for an error, without Python's decoration."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return os.fsdecode(text)[:200] if isinstance(text, bytes) else str(text)[:200]
