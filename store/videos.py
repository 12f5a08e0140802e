"""Uploaded videos: kept ones stay until they are deleted, the others go with their last job."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from multav.errors import Conflict, NotFound
from store import blobs, idempotency
from store.blobs import Blob
from store.database import now
from store.paging import Page, page
from store.tables import JobTable, VideoTable


@dataclass(frozen=True)
class Video:
    """An uploaded video. `info` is what the probe found; times are seconds since 1970."""

    id: str
    blob_id: str
    filename: str
    media_type: str
    sha256: str
    bytes: int
    info: dict[str, Any]
    kept: bool
    created_at: float


def add(
    session: Session, blob: Blob, *, filename: str, media_type: str, info: dict[str, Any], kept: bool
) -> tuple[Video, bool]:
    """The video with these bytes, and whether it is new; a known one is kept from now on if asked."""
    new = False
    if _by_blob(session, blob) is None:
        try:
            with session.begin_nested():
                session.execute(
                    insert(VideoTable).values(
                        id=uuid.uuid4().hex,
                        blob_id=blob.id,
                        filename=filename[:255],
                        media_type=media_type[:255],
                        info=info,
                        kept=kept,
                        created_at=now(),
                    )
                )
            new = True
        except IntegrityError:
            # Somebody else uploaded the same bytes in the same moment.
            pass
    row = _by_blob(session, blob)
    if row is None:
        raise Conflict("the same video was deleted while it was uploaded: send it again")
    if kept and not row.kept:
        session.execute(update(VideoTable).where(VideoTable.id == row.id).values(kept=True))
        new = True
    return get(session, row.id), new


def get(session: Session, video_id: str) -> Video:
    """The video. Raises `NotFound`."""
    row = session.get(VideoTable, video_id, populate_existing=True)
    if row is None:
        raise NotFound(f"there is no video {video_id!r}: upload it with POST /v1/videos")
    return _value(session, row)


def listed(session: Session, *, limit: int = 50, cursor: str | None = None) -> Page[Video]:
    """Kept videos, newest first."""
    return page(
        session,
        select(VideoTable).where(VideoTable.kept),
        (VideoTable.created_at, VideoTable.id),
        limit=limit,
        cursor=cursor,
        key=lambda row: (row.created_at, row.id),
        value=lambda row: _value(session, row),
    )


def remove(session: Session, video_id: str) -> None:
    """Delete a video. Raises `NotFound`, and `Conflict` while a job refers to it."""
    get(session, video_id)
    gone = session.execute(delete(VideoTable).where(VideoTable.id == video_id, ~_needed()))
    if not gone.rowcount:  # type: ignore[attr-defined]
        raise Conflict(f"video {video_id} is used by jobs: delete those first")
    idempotency.forget(session, video_id)


def remove_unless_needed(session: Session, video_id: str) -> None:
    """Delete a video that was uploaded with a job, once no job refers to it."""
    session.execute(delete(VideoTable).where(VideoTable.id == video_id, ~VideoTable.kept, ~_needed()))


def _by_blob(session: Session, blob: Blob) -> VideoTable | None:
    return session.scalar(select(VideoTable).where(VideoTable.blob_id == blob.id).with_for_update())


def _needed() -> ColumnElement[bool]:
    """A job refers to the video."""
    return exists().where(JobTable.video_id == VideoTable.id)


def _value(session: Session, row: VideoTable) -> Video:
    blob = blobs.get(session, row.blob_id)
    return Video(
        id=row.id,
        blob_id=row.blob_id,
        filename=row.filename,
        media_type=row.media_type,
        sha256=blob.sha256,
        bytes=blob.bytes,
        info=row.info,
        kept=row.kept,
        created_at=row.created_at,
    )
