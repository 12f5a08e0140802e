"""The tables. Times are seconds since 1970 by the database's clock (`store.database.now`)."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

STATES = ("queued", "running", "succeeded", "failed", "cancelled")


class Table(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {str: String(255), float: Double(), int: BigInteger(), dict[str, Any]: JSON()}  # noqa: RUF012


class BlobTable(Table):
    """Bytes, kept once: complete blobs are unique by SHA-256. An incomplete one is an upload in progress.

    `let_go`: what referred to them last has no use for them any more.
    """

    __tablename__ = "blobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    touched_at: Mapped[float] = mapped_column(index=True)
    let_go: Mapped[bool] = mapped_column(Boolean, server_default=false())


class BlobChunkTable(Table):
    """A blob's bytes in pieces of 1 MiB."""

    __tablename__ = "blob_chunks"

    blob_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("blobs.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class VideoTable(Table):
    """An uploaded video. `kept` ones were uploaded for themselves, the others go with their last job."""

    __tablename__ = "videos"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    blob_id: Mapped[str] = mapped_column(String(32), ForeignKey("blobs.id"), unique=True, index=True)
    filename: Mapped[str]
    media_type: Mapped[str]
    info: Mapped[dict[str, Any]]
    kept: Mapped[bool] = mapped_column(Boolean, server_default=false())
    created_at: Mapped[float] = mapped_column(index=True)


class JobTable(Table):
    """A job. `state` is changed by `store.jobs` alone; `version` grows with every change of the row.

    One with a `parent_id` is a part of another, number `place` of its parts. A paused job is not claimed, nor are its
    parts.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"state IN {STATES}", name="ck_jobs_state"),
        Index("ix_jobs_state_created", "state", "created_at"),
        Index("ix_jobs_created_id", "created_at", "id"),
        Index("ix_jobs_parent_state", "parent_id", "state"),
        Index("ix_jobs_turn", "state", "priority", "created_at", "parent_id", "place"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    version: Mapped[int] = mapped_column(BigInteger)
    spec: Mapped[dict[str, Any]]
    video_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("videos.id"), index=True)
    parent_id: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("jobs.id", name="fk_jobs_parent", ondelete="CASCADE")
    )
    place: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    priority: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    paused_at: Mapped[float | None]

    attempt: Mapped[int] = mapped_column(Integer)
    max_attempts: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    nudged_at: Mapped[float | None]
    cancel_requested_at: Mapped[float | None]

    progress_done: Mapped[int | None]
    progress_total: Mapped[int | None]
    progress_unit: Mapped[str | None] = mapped_column(String(32))
    progress_eta: Mapped[float | None]

    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class JobUseTable(Table):
    """What a job needs: a model or a dataset (`thing`), which stays registered while the job waits or runs."""

    __tablename__ = "job_uses"
    __table_args__ = (Index("ix_job_uses_thing_name", "thing", "name"),)

    job_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    thing: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)


class JobEventTable(Table):
    """One row for each transition of a job, with the version that it made."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(String(32))
    attempt: Mapped[int] = mapped_column(Integer)
    at: Mapped[float]


class ArtifactTable(Table):
    """A file that a job made, by one attempt."""

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "role", name="uq_artifacts_job_attempt_role"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(32), ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(64))
    filename: Mapped[str]
    media_type: Mapped[str]
    blob_id: Mapped[str] = mapped_column(String(32), ForeignKey("blobs.id"), index=True)
    created_at: Mapped[float]


class ModelTable(Table):
    """A registered model: its card, and its checkpoint's bytes.

    An operator's own code has no checkpoint; `sha256` then stands for its weights (`models.own_models`). `upload_hash`
    says what was asked for when it came, so that the same request again is answered alike.
    """

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    card: Mapped[dict[str, Any]]
    sha256: Mapped[str] = mapped_column(String(64))
    blob_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("blobs.id"), index=True)
    origin: Mapped[str] = mapped_column(String(16))
    upload_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    created_at: Mapped[float]


class DatasetTable(Table):
    """A registered dataset: where its videos lie, or the archive that holds them, and what is listed there.

    `sha256` stands for classes, names, labels and groups; `listing` says how many there are and what is odd about them.
    """

    __tablename__ = "datasets"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    spec: Mapped[dict[str, Any]]
    root: Mapped[str | None] = mapped_column(Text)
    blob_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("blobs.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    listing: Mapped[dict[str, Any]]
    origin: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[float]


class AuditClipTable(Table):
    """A video that an audit looks at: number `position` in its order, `clip` in the dataset's listing."""

    __tablename__ = "audit_clips"

    job_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    clip: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(Text)
    label: Mapped[int] = mapped_column(Integer)
    group: Mapped[str] = mapped_column(Text)


class AuditOutcomeTable(Table):
    """What an audit found of one clip: `multav.audits.outcome.Outcome`. A row is written once and never changed.

    `version` is the one that the job's row got in the same transaction, `place` the row's number in it: the order in
    which results came in.
    """

    __tablename__ = "audit_outcomes"
    __table_args__ = (Index("ix_audit_outcomes_job_version", "job_id", "version", "place"),)

    job_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    model: Mapped[str] = mapped_column(String(100), primary_key=True)
    cell: Mapped[str] = mapped_column(String(100), primary_key=True)
    tested_on: Mapped[str] = mapped_column(String(100), primary_key=True)
    clip: Mapped[int] = mapped_column(Integer, primary_key=True)
    label: Mapped[int] = mapped_column(Integer)
    clean: Mapped[int | None] = mapped_column(Integer)
    clean_confidence: Mapped[float | None]
    predicted: Mapped[int | None] = mapped_column(Integer)
    confidence: Mapped[float | None]
    attacked: Mapped[bool] = mapped_column(Boolean)
    loss_start: Mapped[float | None]
    loss_end: Mapped[float | None]
    size: Mapped[float | None]
    l2: Mapped[float | None]
    changed: Mapped[float | None]
    epsilon: Mapped[float | None]
    gradients: Mapped[int]
    seconds: Mapped[float]
    problem: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(BigInteger)
    place: Mapped[int] = mapped_column(Integer)


class TrainingPointTable(Table):
    """A point of a training's curves: `multav.training.curve.CurvePoint`.

    `version` is the one that the job's row got in the same transaction, and no two points of a job have the same: the
    order in which they came in.
    """

    __tablename__ = "training_points"
    __table_args__ = (Index("ix_training_points_job_version", "job_id", "version"),)

    job_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    series: Mapped[str] = mapped_column(String(16), primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    epoch: Mapped[float]
    loss: Mapped[float | None]
    accuracy: Mapped[float | None]
    learning_rate: Mapped[float | None]
    gradient_norm: Mapped[float | None]
    waiting: Mapped[float | None]
    clean_accuracy: Mapped[float | None]
    robust_accuracy: Mapped[float | None]
    train_clean_accuracy: Mapped[float | None]
    train_robust_accuracy: Mapped[float | None]
    best: Mapped[bool | None] = mapped_column(Boolean)
    version: Mapped[int] = mapped_column(BigInteger)


class TrainingCheckpointTable(Table):
    """Where a training goes on: its last checkpoint (`blob_id`), or once it is done the `result` of the job.

    What is done needs no checkpoint any more.
    """

    __tablename__ = "training_checkpoints"

    job_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    blob_id: Mapped[str | None] = mapped_column(String(32), ForeignKey("blobs.id"), index=True)
    step: Mapped[int] = mapped_column(BigInteger)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    written_at: Mapped[float]


class SpeedTable(Table):
    """How long a gradient of a model takes on a kind of device, as last measured by a job."""

    __tablename__ = "speeds"

    model_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    device: Mapped[str] = mapped_column(String(64), primary_key=True)
    precision: Mapped[str] = mapped_column(String(16), primary_key=True)
    seconds: Mapped[float]
    measured_at: Mapped[float]


class IdempotencyTable(Table):
    """The first answer to a POST with an Idempotency-Key."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    route: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(index=True)


class WorkerTable(Table):
    """A worker process that has given a sign of life. `idle_since` is set while it waits for work."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    device: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str | None] = mapped_column(String(32))
    started_at: Mapped[float]
    seen_at: Mapped[float] = mapped_column(index=True)
    idle_since: Mapped[float | None]
