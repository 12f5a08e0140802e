"""Puts the files that a job made into the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from store import artifacts, blobs
from store.blobs import Blob

if TYPE_CHECKING:
    from worker.running_job import RunningJob


class MadeFile(Protocol):
    """A file, and what it is for."""

    @property
    def role(self) -> str:
        """What it is for."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def media_type(self) -> str:
        """What it is."""

    @property
    def filename(self) -> str:
        """What it is called when it is handed out."""


@dataclass(frozen=True)
class WrittenFile:
    """A file that is handed out under the name that it lies under."""

    role: str
    path: Path
    media_type: str

    @property
    def filename(self) -> str:
        """See `MadeFile`."""
        return self.path.name


def keep_files(running: "RunningJob", made: Sequence[MadeFile]) -> None:
    """Store the files as artifacts of the job, in their order. Raises what `RunningJob.check` raises."""
    large: dict[str, Blob] = {}
    for file in made:
        running.check()
        if file.path.stat().st_size > blobs.CHUNK:
            with file.path.open("rb") as source:
                large[file.role] = blobs.write(running.database, source)
    # The rest together, as every transaction waits for the disk. Bytes that nobody refers to are kept for a while.
    with running.database.write() as session:
        for position, file in enumerate(made):
            blob = large.get(file.role) or blobs.put(session, file.path.read_bytes())
            artifacts.add(
                session,
                running.claim,
                blob,
                role=file.role,
                filename=file.filename,
                media_type=file.media_type,
                position=position,
            )
