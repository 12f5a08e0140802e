"""Every refusal of the project, in one tree; each class carries its HTTP status and stable code.

    MultavError
    ├── InvalidSpec            422  a request field is wrong; `errors` points at each one
    ├── MalformedRequest       400  the request itself cannot be read
    ├── BadVideo               422  a file passed as a video cannot be attacked
    │   ├── NotAVideo          415  not a container that we read
    │   ├── UndecodableVideo   422  a video whose frames cannot be decoded
    │   ├── NoFrames           422  a container without a single picture
    │   └── VideoTooLarge      413  pixels, frames, seconds or bytes beyond a limit
    ├── UploadTooLarge         413  a request body beyond the limit
    ├── OutputTooLarge         413  the requested output would pass a limit
    ├── EncodingFailed         500  the encoder did not produce a file
    ├── BadCheckpoint          422  a checkpoint cannot be read or does not fit its card
    ├── BadDataset             422  a dataset's folder, lists or archive are not what its kind asks for
    ├── BadOwnModel            500  the operator's own code makes no model that can be used
    ├── NotFound               404
    ├── Conflict               409  the state of the thing forbids the request
    ├── IdempotencyMismatch    422  an Idempotency-Key was used before with another body
    ├── QueueFull              429  more jobs wait than the server takes
    ├── DependencyDown         503  database, broker or worker is not there
    ├── OutOfMemory            507  the machine has not enough memory for the job
    ├── TimeLimit              500  the job ran into its time limit
    ├── TrainingDiverged       500  a training's loss or gradients are of no use any more
    ├── AuditIncomplete        500  parts of an audit failed; what the others found is kept
    ├── WorkerLost             500  the worker running a job died, `max_attempts` times
    └── InternalError          500  a defect of ours; the log has the traceback

One renderer (`service/problems.py`) turns them into RFC 9457 problem+json; a failed job stores the same
object, made by `MultavError.problem`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from typing_extensions import TypedDict


class FieldError(TypedDict):
    """One wrong field: a JSON pointer into the request and what was wrong with it."""

    pointer: str
    detail: str


class MultavError(Exception):
    """Base of every error that a user may see. `detail` says what was wrong and what to do."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors: tuple[FieldError, ...] = tuple(errors)

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 problem object of this error (`type`, `title`, `status`, `code`, `detail`)."""
        body: dict[str, Any] = {
            "type": f"urn:multav:problem:{self.code.replace('_', '-')}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = list(self.errors)
        return body


class InvalidSpec(MultavError):
    """A request field is wrong; `errors` holds a JSON pointer for each."""

    status, code, title = 422, "invalid_spec", "The specification is not valid"

    @classmethod
    def at(cls, pointer: str, detail: str) -> Self:
        """The refusal of the one field that `pointer` leads to."""
        return cls(detail, errors=[FieldError(pointer=pointer, detail=detail)])


class MalformedRequest(MultavError):
    """The request cannot be read (broken JSON, a missing part, a bad header)."""

    status, code, title = 400, "malformed_request", "The request cannot be read"


class BadVideo(MultavError):
    """A file passed as a video cannot be attacked."""

    status, code, title = 422, "bad_video", "The video cannot be used"


class NotAVideo(BadVideo):
    """The bytes are not one of the containers that are read."""

    status, code, title = 415, "not_a_video", "Not a video"


class UndecodableVideo(BadVideo):
    """The container opens but its pictures cannot be decoded."""

    status, code, title = 422, "undecodable_video", "The video cannot be decoded"


class NoFrames(BadVideo):
    """The container holds no picture (audio only, zero length)."""

    status, code, title = 422, "no_frames", "The video has no frames"


class VideoTooLarge(BadVideo):
    """Pixels, frames, seconds or bytes of the video pass a limit."""

    status, code, title = 413, "video_too_large", "The video is too large"


class UploadTooLarge(MultavError):
    """The request body passes the upload limit."""

    status, code, title = 413, "upload_too_large", "The upload is too large"


class OutputTooLarge(MultavError):
    """What the requested output would need passes a limit."""

    status, code, title = 413, "output_too_large", "The output would be too large"


class EncodingFailed(MultavError):
    """The encoder ended without a usable file."""

    status, code, title = 500, "encoding_failed", "The video could not be written"


class BadCheckpoint(MultavError):
    """A checkpoint cannot be read, or its tensors do not fit its card."""

    status, code, title = 422, "bad_checkpoint", "The checkpoint cannot be used"


class BadDataset(MultavError):
    """A dataset's folder, lists or archive are not what its kind asks for, or lead out of its folder."""

    status, code, title = 422, "bad_dataset", "The dataset cannot be used"


class BadOwnModel(MultavError):
    """The operator's own code cannot be loaded, or makes no classifier of clips, or another one than before."""

    status, code, title = 500, "bad_own_model", "The operator's model cannot be used"


class NotFound(MultavError):
    """No such job, video, artifact, model or kind."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(MultavError):
    """The state of the thing forbids the request."""

    status, code, title = 409, "conflict", "Conflict with the current state"


class IdempotencyMismatch(MultavError):
    """The Idempotency-Key was used before with another body."""

    status, code, title = 422, "idempotency_mismatch", "The Idempotency-Key belongs to another request"


class QueueFull(MultavError):
    """More jobs wait than the server takes; try again later."""

    status, code, title = 429, "queue_full", "The queue is full"


class DependencyDown(MultavError):
    """The database, the broker or every worker is away."""

    status, code, title = 503, "dependency_down", "A dependency is down"


class OutOfMemory(MultavError):
    """The machine has not enough memory for the job."""

    status, code, title = 507, "out_of_memory", "Out of memory"


class TimeLimit(MultavError):
    """The job ran into its time limit."""

    status, code, title = 500, "time_limit", "The time limit was reached"


class TrainingDiverged(MultavError):
    """A loss or gradient of a training is no number any more, or explodes."""

    status, code, title = 500, "training_diverged", "The training diverged"


class AuditIncomplete(MultavError):
    """Parts of an audit failed. What the others found is kept, and resuming does only what is missing."""

    status, code, title = 500, "audit_incomplete", "The audit is not complete"


class WorkerLost(MultavError):
    """The worker running the job died as often as the job may be tried."""

    status, code, title = 500, "worker_lost", "The worker was lost"


class InternalError(MultavError):
    """A defect of ours; the worker's or service's log has the traceback."""


class Cancelled(Exception):
    """Raised inside a running job at the next check after a cancel was requested; never shown to a user."""


class Interrupted(Exception):
    """Raised inside a running job when its worker shuts down: the job goes back to the queue."""
