"""What an ascent sees of a model: a loss to climb, sample by sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """Losses (B,), logits (B, classes), and the gradient (B, 3, T, H, W) of the summed losses; it is used up."""

    losses: Tensor
    logits: Tensor
    gradient: Tensor


class Objective(Protocol):
    """A loss to climb. Samples do not see each other: losses are summed, never averaged over the batch."""

    def __call__(self, clips: Tensor) -> Evaluation:
        """Losses, logits and gradient at `clips` (B, 3, T, H, W)."""
        ...

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (B,) and logits (B, classes) at `clips`, without a gradient."""
        ...

    def fooled(self, logits: Tensor) -> Tensor:
        """Bool (B,): whether the attacker has what it wants."""
        ...

    def select(self, samples: Tensor) -> "Objective":
        """The objective of some of the samples, int64 indices."""
        ...

    def rivals(self, clips: Tensor, most: int) -> Sequence["Objective"]:
        """For up to `most` other classes, the likeliest at `clips` first, the objective of leaving for that class."""
        ...


@dataclass(frozen=True)
class Descent:
    """An objective upside down: to climb it is to descend the other, toward the labels."""

    objective: Objective

    def __call__(self, clips: Tensor) -> Evaluation:
        """See `Objective`."""
        there = self.objective(clips)
        return Evaluation(there.losses.neg(), there.logits, there.gradient.neg_())

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        losses, logits = self.objective.score(clips)
        return losses.neg(), logits

    def fooled(self, logits: Tensor) -> Tensor:
        """Reached, where the other is left."""
        return ~self.objective.fooled(logits)

    def select(self, samples: Tensor) -> Self:
        """See `Objective`."""
        return type(self)(self.objective.select(samples))

    def rivals(self, clips: Tensor, most: int) -> Sequence[Objective]:  # noqa: ARG002
        """Refused: who descends has chosen the class."""
        raise ValueError('loss "dlr-targeted" leaves a class for any other; it is not for targeted attacks')
