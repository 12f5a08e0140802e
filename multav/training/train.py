"""A whole training: from videos to the weights that are kept, through looks at validation clips and checkpoints."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from multav.datasets.decode_ahead import ClipSource
from multav.datasets.listing import ListedVideo
from multav.errors import BadCheckpoint, BadDataset, Cancelled, Interrupted, InvalidSpec
from multav.geometry import InputGeometry
from multav.progress import Progress
from multav.training import checkpoint
from multav.training.batch_part import BatchPart
from multav.training.batches import Batch, Batches, training_order
from multav.training.checkpoint import Checkpoint
from multav.training.curve import CurvePoint
from multav.training.length import Length
from multav.training.look import Look, look
from multav.training.memory_cache import MemoryCache
from multav.training.ranks import Ranks
from multav.training.request import TrainingRequest
from multav.training.trainer import Stepped, Trainer
from multav.training.videos import TrainingVideos
from multav.video.limits import Limits

KEPT_CLIPS_BYTES: Final = 2**30
"""Decoded clips that a training keeps in memory, all ranks together."""

_POINTS: Final = 500
_LOOKED_TOGETHER: Final = 16
_MOST_TRAIN_CLIPS: Final = 200
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
    """What a training must remember beside the trainer's state: `kept` is the look at the weights that are kept, which
    is the `best` one or the last.
    """

    looked: int = 0
    unbettered: int = 0
    best: CurvePoint | None = None
    kept: CurvePoint | None = None
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
    ranks: Ranks | None = None,
) -> Trained:
    """Train `model`, pixels in [0, 1] to logits over `videos.classes`, in place on the device that it is on.

    `check` is called often and may raise; where it raises `Interrupted` or `Cancelled` a checkpoint is written before.
    Every `request.checkpoint_minutes`, and at the end, one is written at `checkpoint_at` and handed to
    `on_checkpoint(path, step)`. With `resume_from` the training goes on from one and ends with the weights that it
    would have had without the break, bit by bit on the same processor with as many threads; points of the curve behind
    the checkpoint come again.

    Several `ranks` that each call this share every batch, and end with the same weights. The first one writes and is
    called back. What `check` raises on any of them is raised on all, once each has come to the end of its crafting.

    Raises `TrainingDiverged`, `OutOfMemory`, `BadDataset` where most videos give no clip, `BadCheckpoint`.
    """
    ranks = ranks or Ranks()
    device = next(model.parameters()).device
    batches = Batches(
        geometry,
        request.recipe,
        limits,
        MemoryCache(cache, KEPT_CLIPS_BYTES // ranks.size),
        decoders,
        device,
        check,
    )
    training = _Training(
        model,
        request,
        videos,
        batches,
        checkpoint_at,
        on_checkpoint,
        on_point,
        on_progress,
        check,
        ranks,
    )
    if resume_from is not None:
        _restore(training, checkpoint.read(resume_from))
    training.agree()
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
        ranks: Ranks,
    ) -> None:
        self._ranks = ranks
        self._model, self._request, self._videos, self._batches = model, request, videos, batches
        # Videos of two datasets may have the same names.
        self._looked_at = replace(batches, bad={})
        self._checkpoint_at, self._on_checkpoint = checkpoint_at, on_checkpoint
        self._on_point, self._on_progress, self._check = on_point, on_progress, check
        self._length = Length.of(request, len(videos.train))
        self._refuse_too_many_ranks()
        self._trainer = Trainer(
            model,
            request,
            steps=self._length.steps,
            steps_per_epoch=self._length.steps_per_epoch,
            check=check,
            ranks=ranks,
        )
        # The weights that would be registered, apart from those that are trained.
        self._shown = copy.deepcopy(model)
        self._kept: dict[str, Tensor] = {}
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
        assert course.kept is not None, "there was a look at the end"
        self._shown.load_state_dict(self._kept)
        return Trained(
            model=self._shown.eval(),
            steps=self._trainer.step,
            look=course.kept,
            pieces=self._trainer.pieces,
            bad_videos=self._bad_videos,
            seconds=course.seconds,
            waiting=course.waited / course.seconds if course.seconds else 0.0,
            stopped_early=self._trainer.step < self._length.steps,
            remarks=self._remarks(),
        )

    def save(self) -> None:
        """Write a checkpoint and hand it out: the first rank does."""
        if not self._ranks.is_first:
            return
        tensors, rest = self._trainer.state()
        kept = {f"kept/{name}": tensor for name, tensor in self._kept.items()}
        everything = {
            "trainer": rest,
            "course": asdict(self._course),
            "bad": self._batches.bad,
            "bad_to_look_at": self._looked_at.bad,
        }
        checkpoint.write(Checkpoint(tensors | kept, everything), self._checkpoint_at)
        self._on_checkpoint(self._checkpoint_at, self._trainer.step)
        self._saved = time.monotonic()

    def restore(self, kept: Checkpoint) -> None:
        """Go on from `kept`."""
        self._kept = {
            name.removeprefix("kept/"): tensor
            for name, tensor in kept.tensors.items()
            if name.startswith("kept/")
        }
        self._trainer.restore(kept.tensors, kept.rest["trainer"])
        course: dict[str, Any] = kept.rest["course"]
        looks = {
            name: None if course[name] is None else CurvePoint(**course[name]) for name in ("best", "kept")
        }
        self._course = _Course(**course | looks | {"since": _Since(**course["since"])})
        self._batches.bad.update(kept.rest["bad"])
        self._looked_at.bad.update(kept.rest["bad_to_look_at"])

    @property
    def _bad_videos(self) -> dict[str, str]:
        return self._looked_at.bad | self._batches.bad

    def agree(self) -> None:
        """Refuse to go on where ranks begin at different steps."""
        _, steps = self._ranks.together(lambda: (None, self._trainer.step))
        if len(set(steps)) > 1:
            raise BadCheckpoint(f"the devices read checkpoints of different steps: {sorted(set(steps))}")

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
            rank=self._ranks.rank,
            ranks=self._ranks.size,
        )
        own = len(range(self._ranks.rank, length.batch, self._ranks.size))
        with closing(self._batches.of(order, own)) as source:
            while not self._over:
                started, waited = time.monotonic(), self._batches.waited
                batch, part = self._next(source)
                self._refuse_mostly_bad()
                if part.whole < _FEWEST_CLIPS or not part.fewest:
                    trainer.skip(length.steps_per_batch)
                    found = []
                else:
                    found = trainer.train_on(batch.clips, batch.labels, part)
                self._count(found, time.monotonic() - started, self._batches.waited - waited)
                self._look_if_due()
                self._report()
                if time.monotonic() - self._saved >= 60 * self._request.checkpoint_minutes:
                    self.save()

    def _next(self, source: Iterator[Batch]) -> tuple[Batch, BatchPart]:
        """What this rank has of the next batch. All hear of the videos that gave no clip."""
        rank, size = self._ranks.rank, self._ranks.size

        def take() -> tuple[Batch, tuple[list[int], dict[str, str]]]:
            self._check()
            known = set(self._batches.bad)
            batch = next(source)
            fresh = {name: detail for name, detail in self._batches.bad.items() if name not in known}
            return batch, ([rank + size * place for place in batch.places], fresh)

        batch, told = self._ranks.together(take)
        for _, fresh in told:
            self._batches.bad.update(fresh)
        return batch, BatchPart.of(rank, [places for places, _ in told])

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
            self._say(
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
        self._shown.load_state_dict(tensors)
        self._shown.eval()
        validation = self._look(self._looked_at, self._videos.validation)
        some = min(_MOST_TRAIN_CLIPS, len(self._videos.validation))
        trained_on = self._look(self._batches, self._videos.train[:some])
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
        if better:
            course.best = point
        if better or self._request.select == "last":
            course.kept = point
            self._kept = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        self._say(point)

    def _say(self, point: CurvePoint) -> None:
        if self._ranks.is_first:
            self._on_point(point)

    def _look(self, batches: Batches, videos: Sequence[ListedVideo]) -> Look | None:
        """At all videos; each rank looks at its share of them."""

        def look_at_share() -> tuple[None, tuple[dict[str, Any] | None, dict[str, str]]]:
            own = videos[self._ranks.rank :: self._ranks.size]
            with closing(batches.of(own, _LOOKED_TOGETHER)) as source:
                found = look(
                    self._shown,
                    ((each.clips, each.labels, each.numbers) for each in source if each.numbers),
                    self._request.validation_attacks,
                    seed=self._request.seed,
                    precision=self._request.precision,
                    check=self._check,
                )
            return None, (None if found is None else asdict(found), batches.bad)

        _, told = self._ranks.together(look_at_share)
        for _, bad in told:
            batches.bad.update(bad)
        return Look.of_all(Look(**found) for found, _ in told if found is not None)

    def _refuse_mostly_bad(self) -> None:
        bad, names = self._batches.bad, len(self._videos.train)
        if 2 * len(bad) > names:
            name, detail = next(iter(bad.items()))
            raise BadDataset(f"{len(bad)} of {names} videos give no clip, such as {name}: {detail}")

    def _refuse_too_many_ranks(self) -> None:
        size, batch = self._ranks.size, self._length.batch
        if size > 1 and batch < _FEWEST_CLIPS * size:
            detail = (
                f"{len(self._videos.train)} videos make batches of {batch} clips, too few for {size} devices: ask for "
                f"at most {max(1, batch // _FEWEST_CLIPS)}"
            )
            raise InvalidSpec.at("/devices", detail)

    def _report(self) -> None:
        step, steps = self._trainer.step, self._length.steps
        passed, taken = time.monotonic() - self._began, step - self._began_at
        left = passed / taken * (steps - step) if taken else None
        if self._ranks.is_first:
            self._on_progress(Progress(step, steps, "steps", left))

    def _remarks(self) -> tuple[str, ...]:
        remarks = []
        if self._trainer.pieces > self._request.accumulation:
            remarks.append(
                f"memory ran out: each batch went through the model in {self._trainer.pieces} pieces in the end, each "
                "with its own batch statistics"
            )
        bad = len(self._batches.bad) + len(self._looked_at.bad)
        if bad:
            videos, them = ("video was", "it") if bad == 1 else ("videos were", "them")
            remarks.append(f"{bad} {videos} left out: no clip could be made of {them}")
        return tuple(remarks)


def _merit(point: CurvePoint) -> tuple[float, float]:
    clean = point.clean_accuracy or 0.0
    return (clean if point.robust_accuracy is None else point.robust_accuracy, clean)
