"""Messages between this process and its children: a kind, a number, a length, then the bytes.

JSON for words, raw samples for pictures, never pickle: a child that parsed a hostile file is not trusted. Pictures of
8 bits are rgb24; deeper ones are three planes (green, blue, red) of 16-bit little-endian samples.
"""

import json
import struct
from typing import Any, Final

HEADER: Final = struct.Struct("<cqI")
"""Kind (one byte), pts (pictures only), payload length in bytes."""

PICTURE: Final = b"P"
INFO: Final = b"I"
SUMMARY: Final = b"S"
ERROR: Final = b"E"
END: Final = b"."

MAX_JSON: Final = 1 << 20
"""Longest JSON payload that is accepted from a child."""


def words(kind: bytes, body: dict[str, Any]) -> bytes:
    """A JSON message, framed."""
    payload = json.dumps(body).encode()
    return HEADER.pack(kind, 0, len(payload)) + payload


def picture_header(pts: int, length: int) -> bytes:
    """What goes before the `length` bytes of a picture."""
    return HEADER.pack(PICTURE, pts, length)
