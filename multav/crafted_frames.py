"""Crafted pictures kept on disk as packed differences, so that memory stays flat in the video's length.

Only the part that a model sees can change, and its changes are small numbers: the difference modulo 256 is
Huffman coded (fast, a few bits a value) and added to the decoded source again when it is read.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
_WAITING = 8


class CraftedFrames:
    """An append-only file of differences; write every picture in order, then read them as often as needed."""

    def __init__(self, path: Path, window: tuple[slice, slice]) -> None:
        self._file: BinaryIO = path.open("w+b")
        self._window = window
        self._lengths: list[int] = []
        self._packing: deque[Future[bytes]] = deque()
        self._pool = ThreadPoolExecutor(max_workers=2)

    def write(self, source: Picture, crafted: Picture) -> None:
        """Append one picture; both (H, W, 3) uint8, equal outside the window."""
        self._packing.append(self._pool.submit(self._pack, source, crafted))
        while len(self._packing) > _WAITING:
            self._append()

    def read(self, sources: Iterable[Picture]) -> Iterator[tuple[Picture, Picture]]:
        """Pairs (source, crafted) for the source pictures in their order."""
        while self._packing:
            self._append()
        offset = 0
        for source, length in zip(sources, self._lengths, strict=True):
            self._file.seek(offset)
            offset += length
            yield source, self._unpack(source, self._file.read(length))

    def _pack(self, source: Picture, crafted: Picture) -> bytes:
        if source is crafted:
            return b""
        packer = zlib.compressobj(level=1, strategy=zlib.Z_HUFFMAN_ONLY)
        difference = crafted[self._window] - source[self._window]
        return packer.compress(difference.tobytes()) + packer.flush()

    def _unpack(self, source: Picture, packed: bytes) -> Picture:
        if not packed:
            return source
        crafted = source.copy()
        view = crafted[self._window]
        view += np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(view.shape)
        return crafted

    def _append(self) -> None:
        packed = self._packing.popleft().result()
        self._file.seek(0, 2)
        self._file.write(packed)
        self._lengths.append(len(packed))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._file.close()
