"""Runs attack jobs: the video out of the store, through `multav.attack_video`, and what it made back in."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from multav.attack_request import AttackRequest
from multav.errors import InvalidSpec
from multav.video_attack import attack_video
from store import blobs, videos
from worker.kept_files import keep_files

if TYPE_CHECKING:
    from worker.process import WorkerProcess
    from worker.running_job import RunningJob


def run_attack(running: "RunningJob", process: "WorkerProcess") -> dict[str, Any]:
    """The result object of an attack job; its artifacts are stored when this returns."""
    spec = dict(running.job.spec)
    video_id, _, filename = (spec.pop(name, None) for name in ("video", "video_sha256", "video_filename"))
    request = AttackRequest.parse(spec)
    if request.model is None:
        raise InvalidSpec("the job names no model: post it again")
    model = process.models.get(request.model, request.model_sha256)
    with running.database.read() as session:
        video = videos.get(session, video_id)
    with process.folders.open() as folder:
        source = folder / "source"
        blobs.to_file(running.database, video.blob_id, source)
        outcome = attack_video(
            source,
            model,
            request,
            folder=folder / "made",
            name=Path(filename or video.filename).stem or "video",
            limits=running.settings.video_limits(),
            max_output_bytes=running.settings.max_output_bytes,
            on_progress=running.report,
            check=running.check,
        )
        keep_files(running, outcome.artifacts)
    return outcome.result
