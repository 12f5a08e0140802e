"""Where a dataset's videos lie on this machine; an uploaded archive is unpacked the first time that it is needed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multav.datasets.archive import unpack
from multav.errors import BadDataset
from store import blobs, datasets
from store.database import Database
from store.datasets import RegisteredDataset
from store.settings import Settings


def dataset_folder(database: Database, settings: Settings, found: RegisteredDataset) -> Path | None:
    """The folder of the dataset's videos, None for one without files.

    Raises `BadDataset` for a folder that is not there or is empty, as that of a disk that is gone, and for an archive
    that cannot be unpacked within the limits.
    """
    if found.blob_id is None:
        if found.root is None:
            return None
        registered = Path(found.root)
        if not _holds_something(registered):
            # Where it should be is the operator's business: the dataset's name tells them.
            raise BadDataset(
                f"the folder of dataset {found.name!r} is not there on the machine that needs it, or is empty"
            )
        return registered
    folder = settings.data_dir / "datasets" / found.blob_id
    with _alone(folder.parent / ".lock"):
        if not folder.is_dir():
            _remove_forgotten(database, folder.parent)
            fetched = folder.with_suffix(".archive")
            try:
                blobs.to_file(database, found.blob_id, fetched)
                unpack_archive(fetched, folder, settings)
            finally:
                fetched.unlink(missing_ok=True)
    return folder


def _holds_something(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def unpack_archive(archive: Path, folder: Path, settings: Settings) -> None:
    """Unpack into `folder`, which is there afterwards whole or not at all. Raises `BadDataset`."""
    unpack(archive, folder, max_bytes=settings.max_dataset_bytes, max_files=settings.max_dataset_files)


def _remove_forgotten(database: Database, folder: Path) -> None:
    """Make room: remove what was unpacked of archives that are registered no more, and what dead processes left."""
    with database.read() as session:
        kept = datasets.archives(session)
    for unpacked in folder.iterdir():
        if unpacked.is_dir() and unpacked.name not in kept:
            shutil.rmtree(unpacked, ignore_errors=True)
        elif unpacked.suffix == ".archive":
            # The lock is ours: nobody else is fetching.
            unpacked.unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the others find its work done."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
