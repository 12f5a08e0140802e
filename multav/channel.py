"""What lies between crafted floats and the model that sees the delivered video, as the attack may take it along.

A perturbation that is found on floats loses something when it is rounded to 8 bits, and more in an encoder. With a
channel in the loop the loss and its gradient are those of what arrives; the gradient passes the channel straight
through (Bengio et al.), because rounding has none of its own. The best point that arrived is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from multav.objective import Evaluation, Objective

Channel = Callable[[Tensor], Tensor]
"""Clips (B, 3, F, H, W) float in [0, 1] -> the clips that arrive, of the same shape."""


@dataclass
class Kept:
    """For each sample the clip whose arrival was best, its loss and logits."""

    targeted: bool
    clips: Tensor | None = None
    losses: Tensor = field(default_factory=lambda: torch.empty(0))
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    def forget(self) -> None:
        """Begin anew: what was tried to place a region is no point on the way."""
        self.clips = None

    def note(self, clips: Tensor, losses: Tensor, logits: Tensor) -> None:
        """Look at a point on the way."""
        if self.clips is None:
            self.clips, self.losses, self.logits = clips.clone(), losses.clone(), logits.clone()
            return
        better = losses < self.losses if self.targeted else losses > self.losses
        self.clips = torch.where(better.reshape(-1, 1, 1, 1, 1), clips, self.clips)
        self.logits = torch.where(better[:, None], logits, self.logits)
        self.losses = torch.where(better, losses, self.losses)


@dataclass(frozen=True)
class Through:
    """An objective at the far end of a channel, or on the average over several."""

    objective: Objective
    channels: tuple[Channel, ...]
    kept: Kept

    def __call__(self, clips: Tensor) -> Evaluation:
        """See `Objective`; the gradient is that at what arrives."""
        first, *others = self.channels
        found = self.objective(first(clips))
        if others:
            # The objective may use a gradient's memory again.
            total = found.gradient.clone()
            losses, logits = found.losses, found.logits
            for channel in others:
                found = self.objective(channel(clips))
                total.add_(found.gradient)
                losses, logits = losses + found.losses, logits + found.logits
            share = 1 / len(self.channels)
            found = Evaluation(losses * share, logits * share, total.mul_(share))
        self.kept.note(clips, found.losses, found.logits)
        return found

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        looks = [self.objective.score(channel(clips)) for channel in self.channels]
        losses, logits = (torch.stack(each).mean(0) for each in zip(*looks, strict=True))
        self.kept.note(clips, losses, logits)
        return losses, logits

    def fooled(self, logits: Tensor) -> Tensor:
        """See `Objective`."""
        return self.objective.fooled(logits)

    def select(self, samples: Tensor) -> Objective:  # noqa: ARG002
        """Refused: an encoder takes all samples of a segment together."""
        raise ValueError("samples behind a channel cannot leave the batch one by one: take early_stop away")

    def rivals(self, clips: Tensor, most: int) -> Sequence[Objective]:  # noqa: ARG002
        """Refused: what is kept is the best of one objective."""
        raise ValueError('loss "dlr-targeted" is several objectives, a channel keeps the best of one')
