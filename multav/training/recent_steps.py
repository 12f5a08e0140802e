"""The steps since the last point of a training's curve, and the point that they make. Torch-free."""

from dataclasses import dataclass
from typing import Protocol

from multav.training.curve import CurvePoint


class TakenStep(Protocol):
    """What a step says of itself, as `multav.training.trainer.Stepped` does."""

    @property
    def loss(self) -> float:
        """Mean over its clips."""
        ...

    @property
    def accuracy(self) -> float:
        """Share of its clips that were read right."""
        ...

    @property
    def learning_rate(self) -> float:
        """Of the optimiser."""
        ...

    @property
    def gradient_norm(self) -> float:
        """Before it is cut."""
        ...


@dataclass
class RecentSteps:
    """How many `steps` there were, the sums of their figures, and how long they took and `waited` for clips."""

    steps: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, step: TakenStep) -> None:
        """Count one more."""
        self.steps += 1
        self.loss += step.loss
        self.accuracy += step.accuracy

    def point(self, step: int, epoch: float, last: TakenStep | None) -> CurvePoint:
        """Their means behind step number `step`; figures of the optimiser are those of the `last`, if there is one."""
        return CurvePoint(
            "step",
            step,
            epoch,
            loss=self.loss / self.steps,
            accuracy=self.accuracy / self.steps,
            learning_rate=None if last is None else last.learning_rate,
            gradient_norm=None if last is None else last.gradient_norm,
            waiting=self.waited / self.seconds if self.seconds else 0.0,
        )
