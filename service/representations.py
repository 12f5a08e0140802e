"""How jobs, artifacts, videos and models look as JSON."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from multav.artifact_roles import roles_in_words
from store.artifacts import Artifact
from store.datasets import RegisteredDataset
from store.jobs import Job
from store.models import RegisteredModel
from store.videos import Video

_PRIORITIES: dict[int, Literal["low", "normal", "high"]] = {0: "high", 1: "normal", 2: "low"}


class ProgressView(BaseModel):
    """How far a job has come."""

    done: int | None
    total: int | None
    unit: str | None
    eta_seconds: float | None


class ArtifactView(BaseModel):
    """A file that a job made."""

    id: str
    job_id: str
    role: str = Field(
        examples=["adversarial-video"], description=f"what it is for. Of an attack: {roles_in_words()}"
    )
    filename: str
    media_type: str
    bytes: int
    sha256: str
    created_at: datetime
    links: dict[str, str]


class JobView(BaseModel):
    """A job. `result` is there when it has succeeded, `problem` when it has failed."""

    id: str
    kind: Literal["attack", "audit", "training", "scan"]
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    cancel_requested: bool
    paused: bool = Field(description="it rests until it is resumed; a paused job stays queued or running")
    priority: Literal["low", "normal", "high"]
    progress: ProgressView
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    spec: dict[str, Any]
    result: dict[str, Any] | None
    problem: dict[str, Any] | None
    artifacts: list[ArtifactView]
    links: dict[str, str]


class VideoView(BaseModel):
    """An uploaded video and what the probe found in it."""

    id: str
    filename: str
    media_type: str
    bytes: int
    sha256: str
    info: dict[str, Any]
    created_at: datetime
    links: dict[str, str]


class ModelView(BaseModel):
    """A registered model. Attacks act on pixels in [0, 1]; the model normalises them inside."""

    name: str = Field(examples=["kinetics-r3d18@2"], description="what a request calls it by")
    version: str
    origin: Literal["shipped", "folder", "own", "uploaded", "trained"] = Field(
        description="came with the code, lies in the operator's folder, is the operator's own code, was uploaded, or "
        "was made by a training here"
    )
    architecture: str
    arguments: dict[str, Any]
    classes: list[str]
    geometry: dict[str, Any] = Field(
        description="`frames` pictures, `stride` source frames apart, resized to `short_side`, of which the centre "
        "`height` x `width` is seen; then (pixel - `mean`) / `std` per channel"
    )
    value_range: tuple[float, float] = Field(
        description="range of the RGB pixels before normalisation: what attacks change, and what their bounds mean"
    )
    sha256: str = Field(description="of the native checkpoint; of own code: of its weights and its name")
    bytes: int | None = Field(description="size of the native checkpoint; null for own code")
    parameters: int | None
    macs: int | None = Field(description="multiply-accumulate operations of one clip")
    metrics: dict[str, float] = Field(description="measured accuracies in [0, 1] by data set")
    source_sha256: str | None = Field(description="of the file that was uploaded, before it became native")
    source_format: str | None
    assumed: list[str] = Field(
        description="what the file does not say and was taken for granted, in words: check it against your training"
    )
    smoke: dict[str, Any] | None = Field(description="what came of trying the model before it was registered")
    training_job: str | None = Field(description="the job that made it, if one of this service did")
    description: str
    licence: str
    provenance: str
    default: bool = Field(description="whether requests that name no model use it")
    created_at: datetime
    links: dict[str, str]


class DatasetView(BaseModel):
    """A registered dataset."""

    name: str
    spec: dict[str, Any] = Field(description="its kind and how that kind is read; every default spelled out")
    origin: Literal["shipped", "folder", "uploaded", "made"] = Field(
        description="built in, in a folder that the server sees, uploaded as an archive, or made by a formula"
    )
    root: str | None = Field(description="the folder, below the one that the operator allows")
    sha256: str = Field(
        description="of classes, names, labels and groups: audits are run against that listing"
    )
    classes: list[str]
    videos: int
    videos_per_class: list[int]
    groups: int = Field(
        description="sources that videos were cut from: those of one group are not independent"
    )
    missing: int = Field(description="videos that the lists name and that are not there")
    missing_names: list[str] = Field(description="the first of them")
    remarks: list[str] = Field(
        description="what is odd: other counts than the official ones, files in no list"
    )
    created_at: datetime
    links: dict[str, str]


def moment(seconds: float) -> datetime:
    """A time of the database as UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def _maybe(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def artifact_view(artifact: Artifact) -> ArtifactView:
    """The JSON of an artifact."""
    return ArtifactView(
        id=artifact.id,
        job_id=artifact.job_id,
        role=artifact.role,
        filename=artifact.filename,
        media_type=artifact.media_type,
        bytes=artifact.bytes,
        sha256=artifact.sha256,
        created_at=moment(artifact.created_at),
        links={
            "self": f"/v1/artifacts/{artifact.id}",
            "content": f"/v1/artifacts/{artifact.id}/content",
            "job": f"/v1/jobs/{artifact.job_id}",
        },
    )


def job_view(job: Job, artifacts: tuple[Artifact, ...] = ()) -> JobView:
    """The JSON of a job with its artifacts."""
    address = f"/v1/jobs/{job.id}"
    links = {name: f"{address}/{name}" for name in ("events", "cancel", "pause", "resume", "artifacts")}
    if job.kind == "audit":
        links["outcomes"] = f"/v1/audits/{job.id}/outcomes"
    if job.kind == "training":
        links["curve"] = f"/v1/trainings/{job.id}/curve"
    return JobView(
        id=job.id,
        kind=job.kind,
        state=job.state,
        cancel_requested=job.cancel_requested,
        paused=job.paused,
        priority=_PRIORITIES.get(job.priority, "normal"),
        progress=ProgressView(done=job.done, total=job.total, unit=job.unit, eta_seconds=job.eta_seconds),
        attempt=job.attempt,
        created_at=moment(job.created_at),
        started_at=_maybe(job.started_at),
        finished_at=_maybe(job.finished_at),
        spec=job.spec,
        result=job.result,
        problem=job.problem,
        artifacts=[artifact_view(artifact) for artifact in artifacts],
        links={"self": address} | links,
    )


def video_view(video: Video) -> VideoView:
    """The JSON of a video."""
    return VideoView(
        id=video.id,
        filename=video.filename,
        media_type=video.media_type,
        bytes=video.bytes,
        sha256=video.sha256,
        info=video.info,
        created_at=moment(video.created_at),
        links={"self": f"/v1/videos/{video.id}", "content": f"/v1/videos/{video.id}/content"},
    )


def dataset_view(dataset: RegisteredDataset, *, allowed: Path | None) -> DatasetView:
    """The JSON of a dataset; of its folder what lies below the allowed one."""
    root = None if dataset.root is None else Path(dataset.root)
    if root is not None and allowed is not None and root.is_relative_to(allowed):
        root = root.relative_to(allowed)
    return DatasetView(
        name=dataset.name,
        spec=dataset.spec,
        origin=dataset.origin,
        root=None if root is None else str(root),
        sha256=dataset.sha256,
        **dataset.listing,
        created_at=moment(dataset.created_at),
        links={"self": f"/v1/datasets/{dataset.name}"},
    )


def model_view(model: RegisteredModel, *, default: str) -> ModelView:
    """The JSON of a model."""
    card, address = model.card, f"/v1/models/{model.name}"
    return ModelView(
        name=model.name,
        version=card.version,
        origin=model.origin,
        architecture=card.architecture,
        arguments=card.arguments,
        classes=list(card.classes),
        geometry=card.geometry.model_dump(mode="json"),
        value_range=(0.0, 1.0),
        sha256=model.sha256,
        bytes=model.bytes,
        parameters=card.parameters,
        macs=card.macs,
        metrics=card.metrics,
        source_sha256=card.source_sha256,
        source_format=card.source_format,
        assumed=list(card.assumed),
        smoke=card.smoke,
        training_job=card.training_job,
        description=card.description,
        licence=card.licence,
        provenance=card.provenance,
        default=model.name == default,
        created_at=moment(model.created_at),
        links={"self": address} | ({"content": f"{address}/content"} if model.blob_id else {}),
    )
