"""How long a training is: batches, steps, epochs. Torch-free."""

from dataclasses import dataclass
from typing import Self

from multav.training.request import TrainingRequest


@dataclass(frozen=True)
class Length:
    """`steps` of the optimiser, of `batch` clips each; every batch is good for `steps_per_batch` of them.

    `look_every`: steps from one look at the validation clips to the next.
    """

    batch: int
    steps: int
    steps_per_epoch: int
    steps_per_batch: int
    look_every: int

    @classmethod
    def of(cls, request: TrainingRequest, videos: int) -> Self:
        """Of a training on so many videos, at least one. A last, smaller batch of an epoch is dropped."""
        batch = min(request.clips_per_step, videos)
        per_epoch = videos // batch
        steps = request.epochs * per_epoch if request.steps is None else request.steps
        return cls(
            batch=batch,
            steps=steps,
            steps_per_epoch=per_epoch,
            steps_per_batch=request.replays if request.method == "free" else 1,
            look_every=request.validation.every_epochs * per_epoch,
        )

    @property
    def batches(self) -> int:
        """Batches that are taken from the videos."""
        return -(-self.steps // self.steps_per_batch)

    def remark(self, request: TrainingRequest) -> str | None:
        """What is to be said of batches that are smaller than `request` asks for; None where they are not."""
        if self.batch == request.clips_per_step:
            return None
        return (
            f"batches are of {self.batch} clips, not of {request.clips_per_step}: the dataset has no more videos to "
            "train on"
        )

    def epoch(self, step: int) -> float:
        """How many epochs are over after `step` steps."""
        return step / self.steps_per_epoch
