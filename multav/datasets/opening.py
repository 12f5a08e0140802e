"""Telling a file that cannot be opened from a machine that can open no more. Torch-free."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from multav.errors import BadVideo

_ABOUT_THE_FILE: Final = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
    | {errno.ENAMETOOLONG, errno.EIO}
)
"""What says something about one file; no descriptors or no memory left says something about the machine."""


@contextmanager
def as_bad_video(name: str) -> Iterator[None]:
    """A file that is not there, or may not be read, is as bad as one that cannot be decoded: `BadVideo`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _ABOUT_THE_FILE:
            raise
        raise BadVideo(f"{name} cannot be opened: {error.strerror}") from error
