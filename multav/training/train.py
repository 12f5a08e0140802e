"""A whole training: from videos to the weights that are kept, through looks at validation clips and checkpoints."""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from multav.datasets.decode_ahead import ClipSource
from multav.datasets.listing import ListedVideo
from multav.errors import BadCheckpoint, BadDataset, Cancelled, Interrupted
from multav.geometry import InputGeometry
from multav.progress import Progress
from multav.training import checkpoint
from multav.training.batches import Batches, training_order
from multav.training.checkpoint import Checkpoint
from multav.training.curve import CurvePoint
from multav.training.length import Length
from multav.training.look import Look, look
from multav.training.memory_cache import MemoryCache
from multav.training.request import TrainingRequest
from multav.training.trainer import Stepped, Trainer
from multav.training.videos import TrainingVideos
from multav.video.limits import Limits

KEPT_CLIPS_BYTES: Final = 2**30
"""Decoded clips that a training keeps in memory."""

_POINTS: Final = 500
_LOOKED_TOGETHER: Final = 16
_TRAIN_CLIPS_LOOKED_AT: Final = 200
_FEWEST_CLIPS: Final = 2


@dataclass(frozen=True)
class Trained:
    """`model` has the weights that are kept, in eval mode; `look` is what validation says of them.

    `steps` were taken, in `pieces` a batch at the end; `bad_videos` say by name what is wrong with those that gave no
    clip; `waiting` is the share of the time in which clips were waited for.
    """

    model: nn.Module
    steps: int
    look: CurvePoint
    pieces: int
    bad_videos: dict[str, str]
    seconds: float
    waiting: float
    stopped_early: bool
    remarks: tuple[str, ...] = ()


@dataclass
class _Since:
    """What the steps since the last point of the curve saw."""

    steps: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0


@dataclass
class _Course:
    """What a training must remember beside the trainer's state."""

    looked: int = 0
    unbettered: int = 0
    best: CurvePoint | None = None
    seconds: float = 0.0
    waited: float = 0.0
    since: _Since = field(default_factory=_Since)


def train(
    model: nn.Module,
    request: TrainingRequest,
    videos: TrainingVideos,
    geometry: InputGeometry,
    *,
    limits: Limits,
    checkpoint_at: Path,
    cache: ClipSource | None = None,
    decoders: int = 1,
    resume_from: Path | None = None,
    on_checkpoint: Callable[[Path, int], None] = lambda _path, _step: None,
    on_point: Callable[[CurvePoint], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Trained:
    """Train `model`, pixels in [0, 1] to logits over `videos.classes`, in place on the device that it is on.

    `check` is called often and may raise; where it raises `Interrupted` or `Cancelled` a checkpoint is written before.
    Every `request.checkpoint_minutes`, and at the end, one is written at `checkpoint_at` and handed to
    `on_checkpoint(path, step)`. With `resume_from` the training goes on from one and ends with the weights that it
    would have had without the break, bit by bit on the same processor with as many threads; points of the curve behind
    the checkpoint come again.

    Raises `TrainingDiverged`, `OutOfMemory`, `BadDataset` where most videos give no clip, `BadCheckpoint`.
    """
    device = next(model.parameters()).device
    batches = Batches(
        geometry,
        request.recipe,
        limits,
        MemoryCache(cache, KEPT_CLIPS_BYTES),
        decoders,
        device,
        check,
    )
    training = _Training(
        model, request, videos, batches, checkpoint_at, on_checkpoint, on_point, on_progress, check
    )
    if resume_from is not None:
        _restore(training, checkpoint.read(resume_from))
    try:
        return training.run()
    except (Interrupted, Cancelled):
        # `check` is never called in the middle of a step.
        training.save()
        raise


def _restore(training: "_Training", kept: Checkpoint) -> None:
    try:
        training.restore(kept)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadCheckpoint(f"the checkpoint is of another training: {error!r:.300}") from error


class _Training:
    def __init__(
        self,
        model: nn.Module,
        request: TrainingRequest,
        videos: TrainingVideos,
        batches: Batches,
        checkpoint_at: Path,
        on_checkpoint: Callable[[Path, int], None],
        on_point: Callable[[CurvePoint], None],
        on_progress: Callable[[Progress], None],
        check: Callable[[], None],
    ) -> None:
        self._model, self._request, self._videos, self._batches = model, request, videos, batches
        self._checkpoint_at, self._on_checkpoint = checkpoint_at, on_checkpoint
        self._on_point, self._on_progress, self._check = on_point, on_progress, check
        self._length = Length.of(request, len(videos.train))
        self._trainer = Trainer(
            model,
            request,
            steps=self._length.steps,
            steps_per_epoch=self._length.steps_per_epoch,
            check=check,
        )
        # The weights that would be registered, apart from those that are trained.
        self._kept = copy.deepcopy(model)
        self._best: dict[str, Tensor] = {}
        self._course = _Course()
        self._began = self._saved = time.monotonic()
        self._began_at = 0

    def run(self) -> Trained:
        self._began_at = self._trainer.step
        self._look_if_due()
        if not self._over:
            self._train()
        self.save()
        course = self._course
        assert course.best is not None, "there was a look at the end"
        self._kept.load_state_dict(self._best)
        return Trained(
            model=self._kept.eval(),
            steps=self._trainer.step,
            look=course.best,
            pieces=self._trainer.pieces,
            bad_videos=dict(self._batches.bad),
            seconds=course.seconds,
            waiting=course.waited / course.seconds if course.seconds else 0.0,
            stopped_early=self._trainer.step < self._length.steps,
            remarks=self._remarks(),
        )

    def save(self) -> None:
        """Write a checkpoint and hand it out."""
        tensors, rest = self._trainer.state()
        best = {f"best/{name}": tensor for name, tensor in self._best.items()}
        everything = {"trainer": rest, "course": asdict(self._course), "bad": self._batches.bad}
        checkpoint.write(Checkpoint(tensors | best, everything), self._checkpoint_at)
        self._on_checkpoint(self._checkpoint_at, self._trainer.step)
        self._saved = time.monotonic()

    def restore(self, kept: Checkpoint) -> None:
        """Go on from `kept`."""
        self._best = {
            name.removeprefix("best/"): tensor
            for name, tensor in kept.tensors.items()
            if name.startswith("best/")
        }
        self._trainer.restore(kept.tensors, kept.rest["trainer"])
        course: dict[str, Any] = kept.rest["course"]
        best = None if course["best"] is None else CurvePoint(**course["best"])
        self._course = _Course(**course | {"best": best, "since": _Since(**course["since"])})
        self._batches.bad.update(kept.rest["bad"])

    @property
    def _over(self) -> bool:
        patience = self._request.patience
        stopped = patience is not None and self._course.unbettered >= patience
        return stopped or self._trainer.step >= self._length.steps

    def _train(self) -> None:
        length, trainer = self._length, self._trainer
        order = training_order(
            self._videos.train,
            batch=length.batch,
            first_batch=trainer.step // length.steps_per_batch,
            batches=length.batches,
            seed=self._request.seed,
        )
        with closing(self._batches.of(order, length.batch)) as source:
            while not self._over:
                started, waited = time.monotonic(), self._batches.waited
                self._check()
                clips, labels, _ = next(source)
                self._refuse_mostly_bad()
                if len(labels) < _FEWEST_CLIPS:
                    trainer.skip(length.steps_per_batch)
                    found = []
                else:
                    found = trainer.train_on(clips, labels)
                self._count(found, time.monotonic() - started, self._batches.waited - waited)
                self._look_if_due()
                self._report()
                if time.monotonic() - self._saved >= 60 * self._request.checkpoint_minutes:
                    self.save()

    def _count(self, found: Sequence[Stepped], seconds: float, waited: float) -> None:
        """Add the steps of a batch to what is known of the course, and note a point now and then."""
        course, since, trainer = self._course, self._course.since, self._trainer
        course.seconds += seconds
        course.waited += waited
        since.seconds += seconds
        since.waited += waited
        for step in found:
            since.steps += 1
            since.loss += step.loss
            since.accuracy += step.accuracy
        every = max(1, self._length.steps // _POINTS)
        before = trainer.step - len(found)
        if since.steps and (trainer.step // every > before // every or trainer.step == self._length.steps):
            self._on_point(
                CurvePoint(
                    "step",
                    trainer.step,
                    self._length.epoch(trainer.step),
                    loss=since.loss / since.steps,
                    accuracy=since.accuracy / since.steps,
                    learning_rate=found[-1].learning_rate if found else None,
                    gradient_norm=found[-1].gradient_norm if found else None,
                    waiting=since.waited / since.seconds if since.seconds else 0.0,
                )
            )
            course.since = _Since()

    def _look_if_due(self) -> None:
        step, every = self._trainer.step, self._length.look_every
        due = step // every > self._course.looked // every
        if not due and not (step >= self._length.steps > self._course.looked):
            return
        started = time.monotonic()
        tensors = (
            self._model.state_dict() if self._trainer.average is None else dict(self._trainer.average.tensors)
        )
        self._kept.load_state_dict(tensors)
        self._kept.eval()
        validation = self._look(self._videos.validation)
        trained_on = self._look(self._videos.train[:_TRAIN_CLIPS_LOOKED_AT])
        if validation is None:
            raise BadDataset("no validation video gives a clip: look at the dataset with a scan")
        point = CurvePoint(
            "look",
            step,
            self._length.epoch(step),
            loss=validation.loss,
            clean_accuracy=validation.clean_accuracy,
            robust_accuracy=validation.robust_accuracy if self._request.validation_attacks else None,
            train_clean_accuracy=None if trained_on is None else trained_on.clean_accuracy,
            train_robust_accuracy=trained_on.robust_accuracy
            if trained_on is not None and self._request.validation_attacks
            else None,
        )
        self._judge(point, tensors)
        self._course.looked = step
        self._course.seconds += time.monotonic() - started

    def _judge(self, point: CurvePoint, tensors: dict[str, Tensor]) -> None:
        """Keep the weights if they are the best so far, or the last where these are asked for."""
        course = self._course
        better = course.best is None or _merit(point) > _merit(course.best)
        point = replace(point, best=better)
        course.unbettered = 0 if better else course.unbettered + 1
        if better or self._request.select == "last":
            course.best = point
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        self._on_point(point)

    def _look(self, videos: Sequence[ListedVideo]) -> Look | None:
        with closing(self._batches.of(videos, _LOOKED_TOGETHER)) as source:
            return look(
                self._kept,
                (batch for batch in source if len(batch[1])),
                self._request.validation_attacks,
                seed=self._request.seed,
                precision=self._request.precision,
                check=self._check,
            )

    def _refuse_mostly_bad(self) -> None:
        bad, names = self._batches.bad, len(self._videos.train)
        if 2 * len(bad) > names:
            name, detail = next(iter(bad.items()))
            raise BadDataset(f"{len(bad)} of {names} videos give no clip, such as {name}: {detail}")

    def _report(self) -> None:
        step, steps = self._trainer.step, self._length.steps
        passed, taken = time.monotonic() - self._began, step - self._began_at
        left = passed / taken * (steps - step) if taken else None
        self._on_progress(Progress(step, steps, "steps", left))

    def _remarks(self) -> tuple[str, ...]:
        remarks = []
        if self._trainer.pieces > self._request.accumulation:
            remarks.append(
                f"memory ran out: each batch went through the model in {self._trainer.pieces} pieces in the end, each "
                "with its own batch statistics"
            )
        if self._batches.bad:
            remarks.append(f"{len(self._batches.bad)} videos gave no clip and were left out")
        return tuple(remarks)


def _merit(point: CurvePoint) -> tuple[float, float]:
    clean = point.clean_accuracy or 0.0
    return (clean if point.robust_accuracy is None else point.robust_accuracy, clean)
