"""Crafted pictures kept on disk as packed differences, so that memory stays flat in the video's length.

Only the part that a model sees can change, and its changes are small numbers: the difference modulo 256 (65536 above 8
bits) is Huffman coded (fast, a few bits a value) and added to the decoded source again when it is read.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from multav.grid import EIGHT_BITS, Grid
from multav.video.picture import Picture

_WAITING = 8


class CraftedFrames:
    """An append-only file of differences; write every picture in order, then read them as often as needed."""

    def __init__(self, path: Path, window: tuple[slice, slice], grid: Grid = EIGHT_BITS) -> None:
        self._file: BinaryIO = path.open("w+b")
        self._window = window
        self._grid = grid
        self._lengths: list[int] = []
        self._packing: deque[Future[bytes]] = deque()
        self._pool = ThreadPoolExecutor(max_workers=2)

    def write(self, source: Picture, crafted: Picture) -> None:
        """Append one picture; both (H, W, 3), `crafted` on the grid and unmoved outside the window."""
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
        difference = crafted[self._window] - self._grid.unmoved(source[self._window])
        if difference.itemsize > 1:
            if not difference.any():
                return b""
            # All low bytes, then all high ones: each half has few different bytes and gets a code of its own.
            difference = np.ascontiguousarray(difference.reshape(-1, 1).view(np.uint8).T)
        return packer.compress(difference.tobytes()) + packer.flush()

    def _unpack(self, source: Picture, packed: bytes) -> Picture:
        crafted = self._grid.unmoved(source)
        if not packed:
            return crafted
        if crafted is source:
            crafted = source.copy()
        view = crafted[self._window]
        difference = np.frombuffer(zlib.decompress(packed), dtype=np.uint8)
        if view.itemsize > 1:
            difference = np.ascontiguousarray(difference.reshape(2, -1).T).view("<u2")
        view += difference.reshape(view.shape)
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


def packed_bytes(values: int, bits: int) -> int:
    """About what `values` changed values of `bits` bits take on disk: half a byte at 8 bits, then bit by bit more."""
    return values // 2 if bits == 8 else values * (bits - 3) // 8
