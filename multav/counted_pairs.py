"""Counting what became of every level of a picture: the costly part of comparing videos."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from multav.compiled import compiled

_TABLES = 4


def count_pairs(reference: NDArray[np.uint8], other: NDArray[np.uint8], pairs: NDArray[np.int64]) -> int:
    """Add to `pairs` (256, 256) how often `other` has which level where `reference` has which; changed pixels.

    Both pictures are (H, W, 3). Runs without the interpreter's lock.
    """
    changed: int = _count(
        np.ascontiguousarray(reference).reshape(-1, 3), np.ascontiguousarray(other).reshape(-1, 3), pairs
    )
    return changed


@compiled
def _count(reference: Any, other: Any, pairs: Any) -> Any:
    # Neighbours have like levels, and a counter that was just written is slow to read again: they take turns.
    tables = np.zeros((_TABLES, 65536), dtype=np.uint32)
    changed = 0
    for pixel in range(len(reference)):
        table = tables[pixel % _TABLES]
        before, after = reference[pixel], other[pixel]
        moved = False
        for channel in range(3):
            table[256 * np.int64(before[channel]) + np.int64(after[channel])] += 1
            moved |= before[channel] != after[channel]
        changed += moved
    for table in tables:
        for pair in range(65536):
            pairs[pair // 256, pair % 256] += table[pair]
    return changed
