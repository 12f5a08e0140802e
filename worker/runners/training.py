"""Runs trainings: from the last checkpoint, or the beginning, to a registered model.

    train        points and checkpoints are kept as they come                          (again from the last checkpoint)
    register     the model, its audit, and what the job is going to say, all or nothing  (is made once)
    hand out     files of this attempt                                                   (are made again)

Whatever dies in between, another worker goes on at the last line that was reached.
"""

import csv
import io
import logging
import math
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.beginnings import beginning
from models.checkpoints import load
from models.pixel_classifier import PixelClassifier
from multav.audits.request import PRIORITIES
from multav.errors import Cancelled, Conflict, MultavError, NotFound, TrainingDiverged, WorkerLost
from multav.model_card import read_card
from multav.progress import Progress
from multav.training import checkpoint as checkpoints
from multav.training.audit_after import audit_request, audited_on, why_no_audit
from multav.training.curve import CurvePoint
from multav.training.left_weights import LeftWeights
from multav.training.request import TrainingRequest
from multav.training.train import Trained, train
from multav.training.videos import TrainingVideos
from store import artifacts, blobs, datasets, jobs, models, training_checkpoints, training_points
from store.blobs import Blob
from worker.called_hosts import CalledHosts
from worker.many_devices import HostsMissing, ManyDevices
from worker.own_order import own_order, videos_of
from worker.patience import patiently
from worker.runners.training_host import SHARE_OF_SHUTDOWN
from worker.trained_model import TrainedModel
from worker.training_order import CHECKPOINT, KEPT

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.process import WorkerProcess
    from worker.running_job import RunningJob

# A training that has just been taken up again first gets somewhere before it gives way once more.
_AT_LEAST_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0
_MOST_NAMED: Final = 100
_SAFETENSORS: Final = "application/octet-stream"
_log = logging.getLogger(__name__)


def run_training(running: "RunningJob", process: "WorkerProcess") -> dict[str, Any]:
    """The result object of a training, whose model is registered and whose files are kept when this returns."""
    with running.database.read() as session:
        kept = training_checkpoints.find(session, running.job.id)
    request = TrainingRequest.parse(running.job.spec)
    if kept is not None and kept.result is not None:
        result = kept.result
    else:
        with process.folders.open() as folder:
            result = _Training(running, process, request, folder).run(None if kept is None else kept.blob_id)
    # What was done by an attempt before has no progress of this one.
    running.report(Progress(result["steps"], result["steps"], "steps", 0.0))
    _hand_out(running, str(request.name), result)
    return result


@dataclass
class _Training:
    running: "RunningJob"
    process: "WorkerProcess"
    request: TrainingRequest
    folder: Path
    # When the first step was taken. Processes that are still being started get nowhere, and a look that was broken off
    # would be broken off for ever if it were not finished first.
    _began: float = math.inf
    _looked: float = 0.0

    def run(self, kept_blob: str | None) -> dict[str, Any]:
        """Train and register; the result. Leaves a job that is cancelled, or diverges, its last checkpoint."""
        running, request = self.running, self.request
        videos = videos_of(request, self.process)
        running.check()
        model = self._beginning(videos.classes)
        running.check()
        resume_from = None
        if kept_blob is not None:
            resume_from = self.folder / KEPT
            blobs.to_file(running.database, kept_blob, resume_from)
        self._looked = time.monotonic()
        try:
            if request.devices > 1:
                trained = self._on_many_devices(model, videos)
            else:
                trained = train(
                    model.to(self.process.device),
                    request,
                    videos,
                    model.geometry,
                    limits=running.settings.video_limits(),
                    cache=self.process.datasets.clips,
                    decoders=running.settings.decoders,
                    resume_from=resume_from,
                    checkpoint_at=self.folder / CHECKPOINT,
                    on_checkpoint=self._keep,
                    on_point=self._note,
                    on_progress=self._report,
                    check=self._check,
                )
        except (Cancelled, TrainingDiverged):
            self._leave(model)
            raise
        return self._register(trained, videos)

    def _on_many_devices(self, model: PixelClassifier, videos: TrainingVideos) -> Trained:
        running, request = self.running, self.request

        def check() -> None:
            self._check()
            others.look(gathering=not devices.have_met)

        others = CalledHosts(running, self.process.queue, request.hosts - 1)
        devices = ManyDevices(
            folder=self.folder.absolute(),
            order=own_order(request, videos, self.process, leads=True),
            on_checkpoint=self._keep,
            on_point=self._note,
            on_progress=self._report,
            check=check,
            patience=SHARE_OF_SHUTDOWN * running.settings.shutdown_seconds,
            meet=None if request.hosts == 1 else others.meet,
        )
        try:
            return devices.train(model)
        except WorkerLost as lost:
            # What another host says of it is better to know than that it was lost here.
            others.raise_problem()
            if isinstance(lost, HostsMissing):
                others.raise_missing(lost)
            raise
        finally:
            others.let_go()

    def _beginning(self, classes: tuple[str, ...]) -> PixelClassifier:
        start = self.request.start
        registered = None if start.model is None else self.process.models.get(start.model, start.model_sha256)
        return beginning(start, classes, self.request.seed, registered)

    def _check(self) -> None:
        """Stop when somebody asks for it, or waits for an attack. What was done is kept before (`train`)."""
        self.running.check()
        moment = time.monotonic()
        if moment - self._began > _AT_LEAST_SECONDS and moment - self._looked > _LOOK_SECONDS:
            self._looked = moment
            self.running.give_way()

    def _report(self, progress: Progress) -> None:
        self._began = min(self._began, time.monotonic())
        self.running.report(progress)

    def _note(self, point: CurvePoint) -> None:
        def write() -> None:
            with self.running.database.write() as session:
                training_points.add(session, self.running.claim, point)

        patiently(self.running, "a point of its curve", write)

    def _keep(self, path: Path, step: int) -> None:
        running = self.running

        def write() -> None:
            with path.open("rb") as file:
                blob = blobs.write(running.database, file)
            with running.database.write() as session:
                training_checkpoints.keep(
                    session, running.claim, blob, step=step, max_attempts=running.settings.max_attempts
                )

        patiently(running, "its checkpoint", write)
        running.advanced()
        _log.info("job %s: checkpoint at step %d", running.job.id, step)

    def _leave(self, model: PixelClassifier) -> None:
        """Hand the weights of the last checkpoint out, if there is one, as a model that anybody can register."""
        running = self.running
        # Of this attempt, or of one before.
        written = [path for path in (self.folder / CHECKPOINT, self.folder / KEPT) if path.exists()]
        if not written:
            return
        try:
            left = LeftWeights.of(checkpoints.read(written[0]), self.request.select)
            if left.step == 0:
                return
            model.load_state_dict(left.tensors)
            name = left.name(str(self.request.name))
            path = self.folder / f"{name}.safetensors"
            trained = TrainedModel(running.job.id, self.request, self._licence())
            trained.write(model.cpu(), left.look, path, name=name)
            with path.open("rb") as file:
                blob = blobs.write(running.database, file)
            with running.database.write() as session:
                self._add(session, blob, artifacts.CHECKPOINT, path.name, _SAFETENSORS)
        except (MultavError, OSError):
            # Nobody is kept waiting for a job that is to end.
            _log.warning("job %s: its last checkpoint is not handed out", running.job.id, exc_info=True)

    def _add(self, session: "Session", blob: Blob, role: str, filename: str, media_type: str) -> None:
        artifacts.add(session, self.running.claim, blob, role=role, filename=filename, media_type=media_type)

    def _licence(self) -> str:
        """Of the weights that the training started from."""
        if self.request.start.model is None:
            return ""
        with self.running.database.read() as session:
            return models.get(session, self.request.start.model).card.licence

    def _register(self, trained: Trained, videos: TrainingVideos) -> dict[str, Any]:
        """Register the model, queue its audit and note the result, all or nothing; the result."""
        running, request = self.running, self.request
        path = self.folder / "model.safetensors"
        TrainedModel(running.job.id, request, self._licence()).write(trained.model, trained.look, path)
        load(path)  # whoever asks for the model must be able to

        def write() -> tuple[dict[str, Any], str | None]:
            with path.open("rb") as file:
                blob = blobs.write(running.database, file)
            with running.database.write() as session:
                done = training_checkpoints.find(session, running.job.id)
                if done is not None and done.result is not None:
                    # Written before, though nobody said so.
                    return done.result, done.result["audit"]
                registered = models.add_trained(session, read_card(path), blob)
                result = self._result(trained, videos) | {
                    "model": registered.name,
                    "model_sha256": registered.sha256,
                }
                audit_id, why_not = self._audit(session, registered.sha256, videos)
                result["audit"] = audit_id
                if why_not is not None:
                    result["remarks"].append(why_not)
                training_checkpoints.finish(session, running.claim, step=trained.steps, result=result)
            return result, audit_id

        try:
            result, audit_id = patiently(running, "its model", write)
        except Conflict as error:
            raise Conflict(
                f"{error.detail}. The training is done and kept: when the name is free, resume this job "
                f"(POST /v1/jobs/{running.job.id}/resume)"
            ) from error
        if audit_id is not None:
            self.process.queue.nudge(audit_id, "audit")
        return result

    def _result(self, trained: Trained, videos: TrainingVideos) -> dict[str, Any]:
        look = trained.look
        bad = trained.bad_videos
        return {
            "steps": trained.steps,
            "epochs": look.epoch / look.step * trained.steps if look.step else 0.0,
            "chosen": {"step": look.step, "epoch": look.epoch, "on": videos.chosen_on},
            "clean_accuracy": look.clean_accuracy,
            "robust_accuracy": look.robust_accuracy,
            "train_clean_accuracy": look.train_clean_accuracy,
            "train_robust_accuracy": look.train_robust_accuracy,
            "train_clips": trained.train_clips,
            "validation_clips": trained.validation_clips,
            "stopped_early": trained.stopped_early,
            "pieces": trained.pieces,
            "seconds": trained.seconds,
            "waiting": trained.waiting,
            "device": self.process.device.partition(":")[0],
            "bad_videos": [
                {"video": name, "problem": detail} for name, detail in list(bad.items())[:_MOST_NAMED]
            ],
            "remarks": list(trained.remarks),
        }

    def _audit(
        self, session: "Session", sha256: str, videos: TrainingVideos
    ) -> tuple[str | None, str | None]:
        """Queue the audit of the model; its id, or why there is none (both None: none was asked for)."""
        request, name = self.request, str(self.request.name)
        dataset_name = audited_on(request)
        if dataset_name is None:
            return None, None
        try:
            dataset = datasets.hold(session, dataset_name)
        except NotFound as error:
            return None, f"no audit: {error.detail}"
        why_not = why_no_audit(dataset_name, dataset.classes, videos.classes)
        if why_not is not None:
            return None, why_not
        audit = audit_request(
            request,
            model=name,
            sha256=sha256,
            dataset=dataset.name,
            dataset_sha256=dataset.sha256,
            videos=int(dataset.listing["videos"]),
            looked_at=[video.name for video in videos.validation],
        )
        job = jobs.create(
            session,
            kind="audit",
            spec=audit.model_dump(mode="json"),
            uses=[("model", name), ("dataset", dataset.name)],
            priority=PRIORITIES[audit.priority],
            max_attempts=self.running.settings.max_attempts,
        )
        return job.id, None


def _hand_out(running: "RunningJob", name: str, result: dict[str, Any]) -> None:
    """Note the files of this attempt: the model as it is registered, and the curve."""

    def write() -> None:
        with running.database.read() as session:
            points = training_points.every(session, running.job.id)
            registered = models.get(session, name)
        if registered.sha256 != result["model_sha256"] or registered.blob_id is None:
            raise Conflict(f"model {name!r} is another one than this training made")
        curve = blobs.write(running.database, [_csv(points)])
        with running.database.write() as session:
            files = (
                (blobs.get(session, registered.blob_id), "model", "safetensors", _SAFETENSORS),
                (curve, "curve", "csv", "text/csv"),
            )
            known = artifacts.roles(session, running.claim)
            for position, (blob, role, ending, media_type) in enumerate(files):
                if role in known:
                    continue
                artifacts.add(
                    session,
                    running.claim,
                    blob,
                    role=role,
                    filename=f"{name}.{ending}",
                    media_type=media_type,
                    position=position,
                )

    patiently(running, "its files", write)


def _csv(points: list[CurvePoint]) -> bytes:
    """A line for each point; empty: not measured there."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(CurvePoint)])
    writer.writeheader()
    writer.writerows(asdict(point) for point in points)
    return text.getvalue().encode()
