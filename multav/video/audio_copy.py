"""The sound of one file put into another, packet for packet. Runs in the encoder child.

Timestamps are kept as they are, so sound and pictures stay aligned as in the source. A source that cannot be
read, or a sound that the container does not take, is no failure: the file is written without, and `reason` says why.
"""

from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from multav.video.container import Refused, open_container, words_of


class AudioCopy:
    """The audio streams of the open file descriptor `file` (None: there is no sound to copy)."""

    def __init__(self, file: int | None) -> None:
        self.copied = False
        self.reason: str | None = None
        self.streams = 0
        self._container: InputContainer | None = None
        self._targets: dict[int, AudioStream] = {}
        self._packets: Iterator[Packet[Any]] = iter(())
        self._waiting: Packet[Any] | None = None
        if file is None:
            self.reason = "no sound was asked for"
            return
        try:
            self._container = open_container(file)
        except Refused as refused:
            self.reason = f"the sound cannot be read: {refused.detail}"
            return
        if not self._container.streams.audio:
            self.reason = "the source has no sound"

    @property
    def found(self) -> bool:
        """Whether there is sound that could be copied."""
        return self.reason is None

    def add_to(self, target: OutputContainer) -> None:
        """One stream in `target` for each audio stream that its container takes; before the first packet."""
        assert self._container is not None, "`found` was asked first"
        left_out: list[str] = []
        for stream in self._container.streams.audio:
            name = stream.codec_context.name
            if name not in target.supported_codecs:
                left_out.append(name)
                continue
            copy = target.add_stream_from_template(stream)
            if language := stream.metadata.get("language"):
                copy.metadata["language"] = language
            self._targets[stream.index] = copy
        if left_out:
            self.reason = f"{target.format.name} cannot hold {', '.join(left_out)} sound"
        self.streams = len(self._targets)
        self.copied = bool(self._targets) and not left_out
        if self._targets:
            sources = [each for each in self._container.streams.audio if each.index in self._targets]
            self._packets = self._container.demux(*sources)

    def give_up(self, why: str) -> None:
        """The muxer refused the sound."""
        self.reason, self.copied, self.streams = f"the sound cannot be put into this file: {why}", False, 0
        self._targets, self._packets = {}, iter(())

    def copy_until(self, target: OutputContainer, seconds: Fraction) -> None:
        """Every packet that is due by `seconds`, so that sound and pictures lie side by side in the file."""
        while (packet := self._peek()) is not None:
            if packet.dts is not None and packet.dts * packet.time_base > seconds:
                return
            self._waiting = None
            packet.stream = self._targets[packet.stream.index]
            target.mux(packet)

    def copy_rest(self, target: OutputContainer) -> None:
        """Every packet that is left."""
        while (packet := self._peek()) is not None:
            self._waiting = None
            packet.stream = self._targets[packet.stream.index]
            target.mux(packet)

    def _peek(self) -> "Packet[Any] | None":
        while self._waiting is None:
            try:
                packet = next(self._packets, None)
            except av.error.FFmpegError as error:
                self.reason = f"the sound ends early: {words_of(error)}"
                packet = None
            if packet is None:
                self._packets = iter(())
                return None
            if packet.size and packet.dts is not None:
                self._waiting = packet
        return self._waiting

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is not None:
            self._container.close()
