"""Temporary folders of jobs and uploads, each locked by the process that uses it; those of dead processes are removed.

A lock and not a process id, because containers that share a volume do not share their process ids.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LOCK: Final = ".lock"


class WorkFolders:
    """Folders below `root`, one for each piece of work."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def open(self) -> Iterator[Path]:
        """A fresh folder, removed with everything in it when the block ends."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = uuid.uuid4().hex
        # The lock comes first: a folder without one would look abandoned.
        with _held(self._root / (name + _LOCK)):
            folder = self._root / name
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def remove_stale(self) -> None:
        """Remove the folders of processes that are gone."""
        for lock in self._root.glob(f"*{_LOCK}"):
            try:
                descriptor = os.open(lock, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Hold a lock file, and remove it when the block ends."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            break
        # Somebody cleaned up between the two lines above, and took this file for a dead process's.
        os.close(descriptor)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
