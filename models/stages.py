"""The four stages of residual networks: how many blocks they have by depth, and how wide they are. Torch-free."""

from collections.abc import Sequence
from typing import Any, Final

from models.argument_checks import one_of

BLOCKS: Final = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
"""Blocks per stage, by depth."""

BASIC_DEPTHS: Final = (10, 18, 34)
"""Depths of blocks of two convolutions; the others are of bottlenecks."""

BOTTLENECK_DEPTHS: Final = (50, 101, 152, 200)
WIDTHS: Final = (64, 128, 256, 512)


def checked_depth(depth: Any, allowed: Sequence[int] = tuple(BLOCKS)) -> int:
    """`depth`, if it is one of `allowed`."""
    return one_of("depth", depth, allowed)
