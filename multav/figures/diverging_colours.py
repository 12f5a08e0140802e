"""Colours for numbers that have a sign: blue below, near white at zero, red above."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from multav.figures.levels import Picture

# ColorBrewer's RdBu (Brewer, Harrower; Apache-2.0), from blue to red: told apart by colour-blind readers too.
_ANCHORS: Final = (
    (5, 48, 97),
    (33, 102, 172),
    (67, 147, 195),
    (146, 197, 222),
    (209, 229, 240),
    (247, 247, 247),
    (253, 219, 199),
    (244, 165, 130),
    (214, 96, 77),
    (178, 24, 43),
    (103, 0, 31),
)
_HALF: Final = 127


def _table() -> Picture:
    """(255, 3): the colours of -1 to 1."""
    anchors = np.asarray(_ANCHORS, dtype=np.float64)
    at = np.linspace(0, len(anchors) - 1, 2 * _HALF + 1)
    channels = [np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T]
    table: Picture = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    return table


_TABLE: Final = _table()


def diverging(values: NDArray[np.floating[Any]]) -> Picture:
    """Colours (..., 3) uint8 of `values` (...): dark blue for -1 and below, near white for 0, dark red from 1 on."""
    index = np.rint(np.clip(values, -1, 1) * _HALF).astype(np.intp)
    index += _HALF
    colours: Picture = np.empty((*values.shape, 3), dtype=np.uint8)
    # Channel by channel: looking up rows of three takes several times longer.
    for channel in range(3):
        colours[..., channel] = _TABLE[:, channel].take(index)
    return colours
