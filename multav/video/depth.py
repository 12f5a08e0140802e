"""With how many bits a channel a file is read. Torch-free and numpy-free, because both ends of the pipe ask."""

import re
from typing import Final

_PLANES: Final = re.compile(r"gbra?p(9|10|12|14|16)le")
_GREY: Final = ("gray", "ya", "mono")

LIMITED_WHITE: Final = 255 << 8
"""What swscale makes of limited-range white in 16 bits: its 8-bit white, shifted."""


def sent_bits(pixel_format: str, bit_depth: int) -> int:
    """Bits of the samples that a decoder sends of such frames when it may send more than 8.

    RGB planes are sent as they are stored; whatever else is deep is converted to 16 bits. Grey pictures stay at 8,
    because swscale takes every one of them for full range.
    """
    if bit_depth <= 8 or pixel_format.startswith(_GREY):
        return 8
    stored = _PLANES.fullmatch(pixel_format)
    return int(stored[1]) if stored else 16


def sent_white(pixel_format: str, bit_depth: int, *, matrix: str, range: str) -> int:
    """The sample that stands for 1.0 in what is sent at more than 8 bits; `matrix`, `range` as in `VideoInfo`."""
    if _PLANES.fullmatch(pixel_format) or matrix == "rgb":
        return (1 << sent_bits(pixel_format, bit_depth)) - 1
    if range == "limited":
        return LIMITED_WHITE
    # Full-range levels are shifted up, not stretched.
    return ((1 << bit_depth) - 1) << max(0, 16 - bit_depth)


def read_bits(pixel_format: str, bit_depth: int, most: int) -> int:
    """Bits of the pictures that are read of such frames where `most` are asked for."""
    return min(sent_bits(pixel_format, bit_depth), most)
