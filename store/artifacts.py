"""Files that jobs made. Only the attempt that holds the job can add one; a job shows those of its last attempt."""

import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, insert, or_, select
from sqlalchemy.orm import Session

from multav.errors import NotFound
from store.blobs import Blob
from store.database import now
from store.jobs import Claim, cancel_requested
from store.tables import ArtifactTable, BlobTable, JobTable

CHECKPOINT: Final = "checkpoint"
"""The role of what a job leaves that was cancelled, or failed."""
# Far more than a clock's error in what a float of seconds can tell apart, and nothing to people.
_MOMENT: Final = 1e-5


@dataclass(frozen=True)
class Artifact:
    """A file that a job made. `role` says what it is for; times are seconds since 1970."""

    id: str
    job_id: str
    role: str
    filename: str
    media_type: str
    sha256: str
    bytes: int
    blob_id: str
    created_at: float


def add(
    session: Session,
    claim: Claim,
    blob: Blob,
    *,
    role: str,
    filename: str,
    media_type: str,
    position: int = 0,
) -> str:
    """Note that the attempt made `blob`; the artifact's id. Raises `jobs.ClaimLost`.

    `position` orders those that are noted in one moment.
    """
    cancel_requested(session, claim)
    artifact_id = uuid.uuid4().hex
    session.execute(
        insert(ArtifactTable).values(
            id=artifact_id,
            job_id=claim.job_id,
            attempt=claim.attempt,
            role=role,
            filename=filename[:255],
            media_type=media_type,
            blob_id=blob.id,
            created_at=now() + _MOMENT * position,
        )
    )
    return artifact_id


def roles(session: Session, claim: Claim) -> set[str]:
    """What the attempt has noted already."""
    noted = select(ArtifactTable.role).where(
        ArtifactTable.job_id == claim.job_id, ArtifactTable.attempt == claim.attempt
    )
    return set(session.scalars(noted))


def for_job(session: Session, job_id: str) -> tuple[Artifact, ...]:
    """What the job's last attempt made, in the order in which it was added."""
    rows = session.execute(
        _visible().where(ArtifactTable.job_id == job_id).order_by(ArtifactTable.created_at, ArtifactTable.id)
    )
    return tuple(Artifact(**row._mapping) for row in rows)


def get(session: Session, artifact_id: str) -> Artifact:
    """The artifact. Raises `NotFound`."""
    row = session.execute(_visible().where(ArtifactTable.id == artifact_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no artifact {artifact_id!r}")
    return Artifact(**row._mapping)


def _visible() -> Any:
    """Artifacts of the attempt that ended their job; what a dead attempt left is never shown.

    A job that was cancelled, or failed, shows the checkpoint that it had come to, and nothing else.
    """
    return (
        select(
            ArtifactTable.id,
            ArtifactTable.job_id,
            ArtifactTable.role,
            ArtifactTable.filename,
            ArtifactTable.media_type,
            BlobTable.sha256,
            BlobTable.bytes,
            ArtifactTable.blob_id,
            ArtifactTable.created_at,
        )
        .join(BlobTable, BlobTable.id == ArtifactTable.blob_id)
        .join(JobTable, JobTable.id == ArtifactTable.job_id)
        .where(
            ArtifactTable.attempt == JobTable.attempt,
            or_(
                JobTable.state == "succeeded",
                and_(JobTable.state.in_(("cancelled", "failed")), ArtifactTable.role == CHECKPOINT),
            ),
        )
    )
