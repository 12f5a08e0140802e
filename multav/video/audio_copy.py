"""The sound of one file put into another, packet for packet. Runs in the encoder child.

Timestamps are kept as they are, so sound and pictures stay aligned as in the source. A source that cannot be
read, or a sound that the container does not take, is no failure: the file is written without, and `reason` says why.
"""

import io
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from multav.video.container import Refused, open_container, words_of

_PACKETS_TO_LOOK_AT: Final = 4096


class AudioCopy:
    """The audio streams of the open file descriptor `file` (None: there is no sound to copy) for a `muxer`."""

    def __init__(self, file: int | None, *, muxer: str, max_pixels: int) -> None:
        self.reason: str | None = None
        self._source: InputContainer | None = None
        self._taken: tuple[int, ...] = ()
        self._targets: dict[int, AudioStream] = {}
        self._packets: Iterator[Packet[Any]] = iter(())
        self._next: Packet[Any] | None = None
        if file is None:
            self.reason = "no sound was asked for"
            return
        try:
            with open_container(file, max_pixels=max_pixels) as source:
                self._choose(source, muxer)
            self._source = open_container(file, max_pixels=max_pixels)
        except Refused as refused:
            self.reason = f"the sound cannot be read: {refused.detail}"

    @property
    def copied(self) -> bool:
        """Whether every packet of every audio stream went into the file."""
        return bool(self._targets) and self.reason is None

    @property
    def streams(self) -> int:
        """How many audio streams the file has."""
        return len(self._targets)

    def add_to(self, target: OutputContainer) -> None:
        """A stream in `target` for each that its muxer takes; before the file is started."""
        if self._source is None or not self._taken:
            return
        sources = [stream for stream in self._source.streams.audio if stream.index in self._taken]
        for stream in sources:
            copy = target.add_stream_from_template(stream)
            if language := stream.metadata.get("language"):
                copy.metadata["language"] = language
            self._targets[stream.index] = copy
        self._packets = self._source.demux(*sources)

    def copy_until(self, target: OutputContainer, seconds: Fraction | None) -> None:
        """Every packet that is due by `seconds` (None: all), so that sound and pictures lie side by side."""
        while (packet := self._peek()) is not None:
            assert packet.dts is not None, "_peek passes over packets without a time"
            if seconds is not None and packet.dts * packet.time_base > seconds:
                return
            self._next = None
            packet.stream = self._targets[packet.stream.index]
            try:
                target.mux(packet)
            except av.error.FFmpegError as error:
                self._end_early(error)

    def _peek(self) -> "Packet[Any] | None":
        try:
            while self._next is None:
                packet = next(self._packets)
                if packet.size and packet.dts is not None:
                    self._next = packet
        except StopIteration:
            return None
        except av.error.FFmpegError as error:
            self._end_early(error)
            return None
        return self._next

    def _end_early(self, error: av.error.FFmpegError) -> None:
        self.reason = f"the sound is damaged and ends early: {words_of(error)}"
        self._packets = iter(())

    def _choose(self, source: InputContainer, muxer: str) -> None:
        """Which streams the muxer takes."""
        if not source.streams.audio:
            self.reason = "the source has no sound"
            return
        samples: dict[int, Packet[Any]] = {}
        for packet in islice(source.demux(*source.streams.audio), _PACKETS_TO_LOOK_AT):
            if packet.size and packet.dts is not None:
                samples.setdefault(packet.stream.index, packet)
            if len(samples) == len(source.streams.audio):
                break
        left_out: list[str] = []
        taken: list[int] = []
        for stream in source.streams.audio:
            refusal = _refusal(stream, samples.get(stream.index), muxer)
            if refusal is None:
                taken.append(stream.index)
            else:
                left_out.append(refusal)
        self._taken = tuple(taken)
        if left_out:
            self.reason = "sound left out: " + "; ".join(left_out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source is not None:
            self._source.close()


def _refusal(stream: AudioStream, sample: "Packet[Any] | None", muxer: str) -> str | None:
    """Why `muxer` does not take `stream`, found out by writing its first packet into a file that is thrown away.

    Muxers refuse some sounds in the header, some at the first packet and some only when the file is closed.
    """
    name = stream.codec_context.name
    if sample is None:
        return f"a {name} stream is empty"
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as rehearsal:
            copy = rehearsal.add_stream_from_template(stream)
            rehearsal.start_encoding()
            sample.stream = copy
            rehearsal.mux(sample)
    except (av.error.FFmpegError, ValueError) as error:
        return f"{muxer} does not take this {name} ({words_of(error)})"
    return None
