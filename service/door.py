"""The door: what is checked before anything is accepted, and how it is accepted, in one transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from multav.attack_request import AttackRequest, label_index, refuse_misfit
from multav.errors import InvalidSpec, NotFound, QueueFull
from multav.video.probe import probe
from service.context import Context
from service.once import Accepted, Once
from service.uploads import Submission, Upload
from store import blobs, idempotency, jobs, models, videos
from store.blobs import Blob
from store.jobs import Job
from store.models import RegisteredModel
from store.videos import Video

ATTACKS_ROUTE = "POST /v1/attacks"
VIDEOS_ROUTE = "POST /v1/videos"
_MEDIA_TYPES: Final = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "matroska": "video/x-matroska",
    "webm": "video/webm",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
    "flv": "video/x-flv",
    "ogg": "video/ogg",
    "gif": "image/gif",
}


@dataclass(frozen=True)
class _Probed:
    """A video that passed the door: stored bytes, and what the probe found."""

    upload: Upload
    blob: Blob
    info: dict[str, Any]

    @property
    def media_type(self) -> str:
        """By the container that the probe found: what a client says of its file is not handed on to others."""
        return _MEDIA_TYPES.get(self.info["container"], "application/octet-stream")


def accept_attack(context: Context, submission: Submission, key: str | None) -> Accepted:
    """Check an attack request and its video, and queue the job.

    Raises `InvalidSpec`, the `BadVideo` family, `NotFound`, `QueueFull`, `IdempotencyMismatch`.
    """
    spec, video_id, sha256 = _split(submission)
    request = AttackRequest.parse(spec)
    subject = submission.upload.sha256 if submission.upload else video_id
    once = Once(
        context, ATTACKS_ROUTE, key, idempotency.request_hash(request.model_dump(mode="json"), subject)
    )
    first = once.before()
    if first is not None:
        return first
    request = _resolved(context, request)
    probed = _probe(context, submission.upload) if submission.upload else None

    def create(session: Session) -> tuple[str, bool]:
        refuse_when_full(session, context.settings.max_queued_jobs)
        # It may have been deleted since it was looked up; from here on it cannot be until the job is there.
        _model(session, str(request.model), request.model_sha256, models.hold)
        video = _video(session, probed, video_id)
        _refuse_other_bytes(sha256, video.sha256)
        filename = probed.upload.filename if probed else video.filename
        return _create(session, context, request, video, filename).id, True

    return queued(context, once.make(create), "attack")


def queued(context: Context, accepted: Accepted, kind: str) -> Accepted:
    """The same, after the workers were told of a new job of that kind.

    Only now: a worker that is told of the job must find its row. A lost message is the sweeper's business.
    """
    if not accepted.replayed:
        context.queue.nudge(accepted.subject, kind)
    return accepted


def accept_video(context: Context, upload: Upload, key: str | None) -> Accepted:
    """Keep a video. Raises the `BadVideo` family and `IdempotencyMismatch`."""
    once = Once(context, VIDEOS_ROUTE, key, idempotency.request_hash(upload.sha256))
    first = once.before()
    if first is not None:
        return first
    probed = _probe(context, upload)

    def create(session: Session) -> tuple[str, bool]:
        video, new = videos.add(
            session,
            probed.blob,
            filename=upload.filename,
            media_type=probed.media_type,
            info=probed.info,
            kept=True,
        )
        return video.id, new

    return once.make(create)


def _split(submission: Submission) -> tuple[dict[str, Any], str | None, Any]:
    """The specification without its video, that video's id and the SHA-256 that it must have.

    Both are None when a file came with the request.
    """
    if not isinstance(submission.spec, dict):
        raise InvalidSpec("the specification must be a JSON object")
    spec = dict(submission.spec)
    # A resolved specification can be posted again as it is.
    spec.pop("video_filename", None)
    expected = spec.pop("video_sha256", None)
    video_id = spec.pop("video", None)
    if submission.upload is not None:
        _refuse_other_bytes(expected, submission.upload.sha256)
        return spec, None, None
    if not isinstance(video_id, str):
        detail = (
            "the id of an uploaded video is missing: POST the file to /v1/videos, or send it as multipart"
        )
        raise InvalidSpec.at("/video", detail)
    return spec, video_id, expected


def _refuse_other_bytes(expected: Any, found: str) -> None:
    """Who names the SHA-256 of the video wants that one and no other."""
    if expected not in (None, found):
        detail = f"the video has the SHA-256 {found}"
        raise InvalidSpec.at("/video_sha256", detail)


def _resolved(context: Context, request: AttackRequest) -> AttackRequest:
    """The request with its model named and pinned, and its label checked."""
    name = request.model or context.settings.default_model
    with context.database.read() as session:
        model = _model(session, name, request.model_sha256, models.get)
    if request.label is not None:
        label_index(request.label, model.card.classes)
    refuse_misfit(request.attack, model.card.geometry)
    return AttackRequest.parse(
        {**request.model_dump(mode="json"), "model": model.name, "model_sha256": model.sha256}
    )


def _model(
    session: Session, name: str, sha256: str | None, read: Callable[[Session, str], RegisteredModel]
) -> RegisteredModel:
    """The model, of that SHA-256 if one is asked for. Raises `InvalidSpec` pointing at what is wrong."""
    try:
        model = read(session, name)
    except NotFound as error:
        raise InvalidSpec.at("/model", error.detail) from error
    if sha256 not in (None, model.sha256):
        detail = f"the checkpoint of {name!r} has the SHA-256 {model.sha256}"
        raise InvalidSpec.at("/model_sha256", detail)
    return model


def _probe(context: Context, upload: Upload) -> _Probed:
    """Look at the file in a bounded child process, a few at a time, and store its bytes."""
    with context.probes:
        info = probe(upload.path, context.settings.video_limits())
    with upload.path.open("rb") as file:
        blob = blobs.write(context.database, file)
    return _Probed(upload, blob, info.model_dump(mode="json"))


def refuse_when_full(session: Session, most: int) -> None:
    waiting = jobs.count(session, "queued")
    if waiting >= most:
        raise QueueFull(f"{waiting} jobs wait already: try again later")


def _video(session: Session, probed: _Probed | None, video_id: str | None) -> Video:
    if probed is None:
        return videos.get(session, str(video_id))
    video, _ = videos.add(
        session,
        probed.blob,
        filename=probed.upload.filename,
        media_type=probed.media_type,
        info=probed.info,
        kept=False,
    )
    return video


def _create(session: Session, context: Context, request: AttackRequest, video: Video, filename: str) -> Job:
    spec = {
        **request.model_dump(mode="json"),
        "video": video.id,
        "video_sha256": video.sha256,
        # As this request named it: the same bytes may be kept under another name.
        "video_filename": filename[:255],
    }
    try:
        return jobs.create(
            session,
            kind="attack",
            spec=spec,
            video_id=video.id,
            uses=[("model", str(request.model))],
            max_attempts=context.settings.max_attempts,
        )
    except IntegrityError as error:
        raise NotFound("the video was deleted while the request came in: send it again") from error
