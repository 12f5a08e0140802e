"""A video of the report that can be played: clean, attacked, and their difference."""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Media = Path | bytes | None

# What browsers may be told of a file, by the bytes that it begins with (offset, bytes).
_TYPES: Final = (
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
)


@dataclass(frozen=True)
class ExampleClip:
    """`before` and `after` say what the model sees ("Basketball, 93 %"); files are paths or contents, None if absent.

    `difference_file` shows the change fifteen times as large.
    """

    title: str
    label: str
    before: str
    after: str
    clean_file: Media
    adversarial_file: Media
    difference_file: Media = None


def data_uri(media: Media) -> tuple[str, str] | None:
    """(media type, data: URI) of a file, None if there is none.

    Its type is read from its first bytes, never from its name. Raises `ValueError` for one that no browser plays.
    """
    if media is None:
        return None
    content = media if isinstance(media, bytes) else media.read_bytes()
    for offset, magic, kind in _TYPES:
        if content[offset : offset + len(magic)] == magic:
            return kind, f"data:{kind};base64,{b64encode(content).decode('ascii')}"
    raise ValueError("an example is neither MP4, WebM, PNG, GIF nor JPEG: browsers would not play it")
