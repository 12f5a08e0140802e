"""Bytes in the database: streamed in chunks, kept once by SHA-256, gone with the last thing that refers to them.

Writing happens in many small transactions, so that a large upload never keeps other writers waiting. Until it
is complete a blob has no SHA-256 and nobody can refer to it; what a dead process left half-written is collected
by age.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import and_, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from multav.errors import NotFound
from store.database import Database, now
from store.tables import (
    ArtifactTable,
    BlobChunkTable,
    BlobTable,
    DatasetTable,
    ModelTable,
    TrainingCheckpointTable,
    VideoTable,
)

CHUNK: Final = 2**20
_REFERRING: Final = (
    VideoTable.blob_id,
    ArtifactTable.blob_id,
    ModelTable.blob_id,
    DatasetTable.blob_id,
    TrainingCheckpointTable.blob_id,
)
# Whoever has written or found a blob refers to it within moments.
_IN_HAND_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Blob:
    """Bytes that are complete."""

    id: str
    sha256: str
    bytes: int


def write(database: Database, source: BinaryIO | Iterable[bytes]) -> Blob:
    """Store the bytes of `source`; the blob that already holds them, if one does.

    The blob is kept for a grace period even when nothing refers to it yet (see `collect`).
    """
    blob_id = uuid.uuid4().hex
    digest, size, waiting = hashlib.sha256(), 0, b""
    number = 0
    try:
        # A chunk is written when the next one is there: small bytes take one transaction, from first to last.
        for chunk in _chunks(source):
            if size:
                with database.write() as session:
                    _append(session, blob_id, number, waiting)
                number += 1
            digest.update(chunk)
            size += len(chunk)
            waiting = chunk
        with database.write() as session:
            _append(session, blob_id, number, waiting)
            return _complete(session, blob_id, digest.hexdigest(), size)
    except BaseException:
        with database.write() as session:
            _delete(session, blob_id)
        raise


def put(session: Session, data: bytes) -> Blob:
    """As `write`, for up to `CHUNK` bytes in a transaction that is open already."""
    if len(data) > CHUNK:
        raise ValueError(f"{len(data)} bytes are more than one chunk: write them")
    blob_id = uuid.uuid4().hex
    _append(session, blob_id, 0, data)
    return _complete(session, blob_id, hashlib.sha256(data).hexdigest(), len(data))


def read(database: Database, blob_id: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes from `start` up to, not including, `end`; a short transaction for each chunk.

    Raises `NotFound` when the blob is gone, also while it is being read.
    """
    with database.read() as session:
        size = session.scalar(select(BlobTable.bytes).where(BlobTable.id == blob_id))
    if size is None:
        raise NotFound("the bytes have been deleted")
    stop = size if end is None else min(end, size)
    while start < stop:
        number, offset = divmod(start, CHUNK)
        with database.read() as session:
            data = session.scalar(
                select(BlobChunkTable.data).where(
                    BlobChunkTable.blob_id == blob_id, BlobChunkTable.number == number
                )
            )
        if data is None:
            raise NotFound("the bytes have been deleted")
        piece = data[offset : offset + stop - start]
        yield piece
        start += len(piece)


def to_file(database: Database, blob_id: str, path: Path) -> None:
    """Write the bytes to `path`. Raises `NotFound`."""
    with path.open("wb") as file:
        for chunk in read(database, blob_id):
            file.write(chunk)


def get(session: Session, blob_id: str) -> Blob:
    """The complete blob. Raises `NotFound`."""
    row = session.get(BlobTable, blob_id)
    if row is None or row.sha256 is None:
        raise NotFound("the bytes have been deleted")
    return Blob(row.id, row.sha256, row.bytes)


def find(session: Session, sha256: str) -> Blob | None:
    """The blob with these bytes, marked as wanted so that it is not collected in the next moments."""
    row = session.scalar(select(BlobTable).where(BlobTable.sha256 == sha256).with_for_update())
    if row is None:
        return None
    _touch(session, row.id)
    return Blob(row.id, sha256, row.bytes)


def collect(database: Database, *, older_than_seconds: float) -> int:
    """Delete the blobs that nothing refers to and that nobody touched for so long; how many there were.

    Those that were let go are deleted as soon as nobody can have them in hand.
    """
    stale = or_(
        BlobTable.touched_at < now() - older_than_seconds,
        and_(BlobTable.let_go.is_(True), _in_nobodys_hand()),
    )
    with database.read() as session:
        found = session.scalars(select(BlobTable.id).where(stale, _unreferred()).limit(1000)).all()
    for blob_id in found:
        with database.write() as session:
            _delete_where(session, blob_id, stale)
    return len(found)


def let_go(session: Session, blob_id: str) -> None:
    """Delete bytes that were needed and are not any more, unless something else refers to them.

    Those that somebody has touched just now are left to `collect`, which takes them some moments later: nobody knows
    whether only those have touched them that let them go, or others too, who are about to refer to them.
    """
    if not _delete_where(session, blob_id, _in_nobodys_hand()):
        session.execute(
            update(BlobTable)
            .where(BlobTable.id == blob_id, _unreferred())
            .values(let_go=True)
            .execution_options(synchronize_session=False)
        )


def _append(session: Session, blob_id: str, number: int, chunk: bytes) -> None:
    """The next chunk; with the first one the blob begins."""
    if number == 0:
        session.execute(insert(BlobTable).values(id=blob_id, sha256=None, bytes=0, touched_at=now()))
    else:
        _touch(session, blob_id)
    if chunk:
        session.execute(insert(BlobChunkTable).values(blob_id=blob_id, number=number, data=chunk))


def _complete(session: Session, blob_id: str, sha256: str, size: int) -> Blob:
    """Give the blob its name; if another one has it already, that one stands."""
    known = find(session, sha256)
    if known is None:
        try:
            with session.begin_nested():
                session.execute(
                    update(BlobTable)
                    .where(BlobTable.id == blob_id)
                    .values(sha256=sha256, bytes=size, touched_at=now())
                )
            return Blob(blob_id, sha256, size)
        except IntegrityError:
            # The same bytes were completed by somebody else in the same moment.
            known = find(session, sha256)
            if known is None:
                raise
    _delete(session, blob_id)
    return known


def _delete_where(session: Session, blob_id: str, condition: ColumnElement[bool]) -> bool:
    """Delete the blob where that is so and nothing refers to it; whether it was deleted."""
    gone = session.execute(delete(BlobTable).where(BlobTable.id == blob_id, condition, _unreferred()))
    if not gone.rowcount:  # type: ignore[attr-defined]
        return False
    session.execute(delete(BlobChunkTable).where(BlobChunkTable.blob_id == blob_id))
    return True


def _in_nobodys_hand() -> ColumnElement[bool]:
    return BlobTable.touched_at < now() - _IN_HAND_SECONDS


def _unreferred() -> ColumnElement[bool]:
    return ~or_(*(exists().where(column == BlobTable.id) for column in _REFERRING))


def _touch(session: Session, blob_id: str) -> None:
    session.execute(update(BlobTable).where(BlobTable.id == blob_id).values(touched_at=now(), let_go=False))


def _delete(session: Session, blob_id: str) -> None:
    session.execute(delete(BlobChunkTable).where(BlobChunkTable.blob_id == blob_id))
    session.execute(delete(BlobTable).where(BlobTable.id == blob_id))


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    """Exactly `CHUNK` bytes at a time, the last piece shorter."""
    waiting = bytearray()
    pieces = iter(lambda: source.read(CHUNK), b"") if hasattr(source, "read") else source
    for piece in pieces:
        waiting += piece
        while len(waiting) >= CHUNK:
            yield bytes(waiting[:CHUNK])
            del waiting[:CHUNK]
    if waiting:
        yield bytes(waiting)
