"""A whole training: from videos to the weights that are kept, through looks at validation clips and checkpoints."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from multav.datasets.decode_ahead import ClipSource
from multav.errors import BadCheckpoint, Cancelled, Interrupted, InvalidSpec
from multav.geometry import InputGeometry
from multav.progress import Progress
from multav.training import checkpoint
from multav.training.bad_videos import left_out, nothing_to_look_at, one_is_good, refuse_mostly_bad
from multav.training.batch_part import BatchPart
from multav.training.batches import Batch, Batches, training_order
from multav.training.checkpoint import Checkpoint
from multav.training.curve import CurvePoint
from multav.training.kept_weights import KeptWeights
from multav.training.length import Length
from multav.training.memory_cache import MemoryCache
from multav.training.ranks import Ranks
from multav.training.recent_steps import RecentSteps
from multav.training.request import TrainingRequest
from multav.training.trainer import Stepped, Trainer
from multav.training.validation_looks import ValidationLooks
from multav.training.videos import TrainingVideos
from multav.video.limits import Limits

KEPT_CLIPS_BYTES: Final = 2**30
"""Decoded clips that a training keeps in memory, all ranks together."""

_POINTS: Final = 500
_DUE_BEFORE_A_LOOK: Final = 0.1
"""Share of the minutes between two checkpoints after which one is written before a look, which may take long."""
_FEWEST_CLIPS: Final = 2


@dataclass(frozen=True)
class Trained:
    """`model` has the weights that are kept, in eval mode; `look` is what validation says of them.

    `steps` were taken, in `pieces` a batch at the end; `bad_videos` say by name what is wrong with those that gave no
    clip, `train_clips` and `validation_clips` how many of the others there are; `waiting` is the share of the time in
    which clips were waited for.
    """

    model: nn.Module
    steps: int
    look: CurvePoint
    pieces: int
    bad_videos: dict[str, str]
    train_clips: int
    validation_clips: int
    seconds: float
    waiting: float
    stopped_early: bool
    remarks: tuple[str, ...] = ()


@dataclass
class _Course:
    """What a training must remember beside the trainer's state and the weights that are kept: the step that was
    `looked` at last, how long it has taken so far and `waited` for clips.
    """

    looked: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    since: RecentSteps = field(default_factory=RecentSteps)


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

    `check` is called often and may raise; where it raises `Interrupted` or `Cancelled` a checkpoint is written before,
    unless there is one of before loss and gradients went wild. A look at validation clips that was broken off is the
    first thing that is done when the training goes on: `on_progress` is called after the first step, and so behind it.
    Every `request.checkpoint_minutes`, and sooner before a look, if loss and gradients are not wild just then, and at
    the end, one is written at `checkpoint_at` and handed to `on_checkpoint(path, step)`. With `resume_from` the
    training goes on from one and ends with the weights that it would have had without the break, bit by bit on the same
    processor with as many threads; points of the curve behind the checkpoint come again.

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
        if not training.doubtful or (resume_from is None and not checkpoint_at.exists()):
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
        self._looks = ValidationLooks(
            model,
            request,
            videos,
            batches=self._looked_at,
            trained_on=batches,
            check=check,
            ranks=ranks,
        )
        self._kept = KeptWeights(request.select)
        self._course = _Course()
        self._began = self._saved = time.monotonic()
        self._began_at = 0

    def run(self) -> Trained:
        self._began_at = self._trainer.step
        if not self._over:
            self._try_videos()
        self._look_if_due()
        if not self._over:
            self._train()
        self.save()
        course = self._course
        assert self._kept.look is not None, "there was a look at the end"
        model = self._looks.shown
        model.load_state_dict(self._kept.tensors)
        return Trained(
            model=model.eval(),
            steps=self._trainer.step,
            look=self._kept.look,
            pieces=self._trainer.pieces,
            bad_videos=self._looked_at.bad | self._batches.bad,
            train_clips=len(self._videos.train) - len(self._batches.bad),
            validation_clips=len(self._videos.validation) - len(self._looked_at.bad),
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
        kept, looks = self._kept.state()
        everything = {
            "trainer": rest,
            "course": asdict(self._course) | looks,
            "bad": self._batches.bad,
            "bad_to_look_at": self._looked_at.bad,
        }
        checkpoint.write(Checkpoint(tensors | kept, everything), self._checkpoint_at)
        self._on_checkpoint(self._checkpoint_at, self._trainer.step)
        self._saved = time.monotonic()

    @property
    def doubtful(self) -> bool:
        """Whether a checkpoint of now would be one of what a training that diverges has come to."""
        return self._trainer.doubtful

    def restore(self, kept: Checkpoint) -> None:
        """Go on from `kept`."""
        course: dict[str, Any] = kept.rest["course"]
        self._kept.restore(kept.tensors, course)
        self._trainer.restore(kept.tensors, kept.rest["trainer"])
        self._course = _Course(
            looked=course["looked"],
            seconds=course["seconds"],
            waited=course["waited"],
            since=RecentSteps(**course["since"]),
        )
        self._batches.bad.update(kept.rest["bad"])
        self._looked_at.bad.update(kept.rest["bad_to_look_at"])

    def agree(self) -> None:
        """Refuse to go on where ranks begin at different steps."""
        _, steps = self._ranks.together(lambda: (None, self._trainer.step))
        if len(set(steps)) > 1:
            raise BadCheckpoint(f"the devices read checkpoints of different steps: {sorted(set(steps))}")

    @property
    def _over(self) -> bool:
        patience = self._request.patience
        stopped = patience is not None and self._kept.unbettered >= patience
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
                self._save_if_due()
                self._look_if_due()
                self._report()

    def _save_if_due(self) -> None:
        share = _DUE_BEFORE_A_LOOK if self._look_is_due else 1.0
        due = time.monotonic() - self._saved >= share * 60 * self._request.checkpoint_minutes
        if due and not self.doubtful:
            # Else what is left of a training that diverges would be what it diverged to.
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
            since.add(step)
        every = max(1, self._length.steps // _POINTS)
        before = trainer.step - len(found)
        if since.steps and (trainer.step // every > before // every or trainer.step == self._length.steps):
            epoch = self._length.epoch(trainer.step)
            self._say(since.point(trainer.step, epoch, found[-1] if found else None))
            course.since = RecentSteps()

    @property
    def _look_is_due(self) -> bool:
        step, looked, every = self._trainer.step, self._course.looked, self._length.look_every
        return step // every > looked // every or step >= self._length.steps > looked

    def _look_if_due(self) -> None:
        if not self._look_is_due:
            return
        step, started = self._trainer.step, time.monotonic()
        average = self._trainer.average
        tensors: Mapping[str, Tensor] = self._model.state_dict() if average is None else average.tensors
        point = self._looks.look(tensors, step, self._length.epoch(step))
        self._say(self._kept.judge(point, tensors))
        self._course.looked = step
        self._course.seconds += time.monotonic() - started

    def _say(self, point: CurvePoint) -> None:
        if self._ranks.is_first:
            self._on_point(point)

    def _try_videos(self) -> None:
        """Notice before the first step that there is nothing to look at, or nothing to train on."""
        bad = (self._looked_at.bad, self._batches.bad)

        def attempt() -> tuple[None, list[dict[str, str]]]:
            if self._ranks.is_first:
                if not one_is_good(self._looked_at, self._videos.validation):
                    raise nothing_to_look_at(self._looked_at.bad)
                one_is_good(self._batches, self._videos.train[: len(self._videos.train) // 2 + 1])
                self._refuse_mostly_bad()
            return None, list(bad)

        _, told = self._ranks.together(attempt)
        for own, of_first in zip(bad, told[0], strict=True):
            own.update(of_first)

    def _refuse_mostly_bad(self) -> None:
        refuse_mostly_bad(self._batches.bad, len(self._videos.train))

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
        smaller = self._length.remark(self._request)
        if smaller is not None:
            remarks.append(smaller)
        if self._trainer.pieces > self._request.accumulation:
            remarks.append(
                f"memory ran out: each batch went through the model in {self._trainer.pieces} pieces in the end, each "
                "with its own batch statistics"
            )
        bad = left_out(
            (len(self._batches.bad), len(self._videos.train)),
            (len(self._looked_at.bad), len(self._videos.validation)),
        )
        if bad is not None:
            remarks.append(bad)
        return tuple(remarks)
