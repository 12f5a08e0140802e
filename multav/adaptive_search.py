"""APGD (Croce & Hein, 2020): a search that halves its own step and returns to its best point.

Works in the coordinate in which the rule adds (pixel values, or their logarithms), where the bound is a cube and a
multiplicative attack is an additive one. Every sample has its own step size and its own checkpoints' verdicts.
"""

from collections.abc import Callable
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from multav.attacks.adaptive_attack import AdaptiveAttack
from multav.gradient_loop import Found, Start
from multav.objective import Objective


def adaptive_search(
    goal: Objective, start: Start, attack: AdaptiveAttack, on_step: Callable[[int], None] | None
) -> Found:
    """Climb `goal` from `start`, and return the best point of all; `losses` end with its loss."""
    search = _Search(start, attack)
    checkpoints = _checkpoints(attack.steps)
    trace: list[Tensor] = []
    for step in range(attack.steps):
        if on_step is not None:
            on_step(step)
        evaluation = goal(search.clips)
        trace.append(evaluation.losses)
        search.note(evaluation.losses, evaluation.logits, evaluation.gradient.contiguous())
        if step in checkpoints:
            search.judge(steps=step - checkpoints[step])
        search.advance()
    search.note(*goal.score(search.clips), None)
    trace.append(search.best_losses)
    spent = torch.full((len(search.clips),), attack.steps, dtype=torch.int64, device=search.clips.device)
    return Found(search.best_clips, search.best_logits, torch.stack(trace), spent)


def _checkpoints(steps: int) -> dict[int, int]:
    """Each checkpoint's step and the one before: at 22 % of the steps, then after spans that shrink to 6 %."""
    # In per cent, as whole numbers: sums of 0.22, 0.19 ... are not what they should be, and are rounded up.
    places, before, at = [0], 0, 22
    while ceil(at * steps / 100) < steps:
        places.append(ceil(at * steps / 100))
        before, at = at, at + max(at - before - 3, 6)
    return {place: former for former, place in pairwise(places) if place > former}


class _Search:
    """State of all samples; coordinates are those of `Rule.coordinate`."""

    def __init__(self, start: Start, attack: AdaptiveAttack) -> None:
        self._attack, self._origin, self._mask = attack, start.origin, start.mask
        self._bound = attack.rule.coordinate_bound(attack.epsilon)
        self.clips = start.clips
        self._here = attack.rule.coordinate(start.clips, start.origin)
        self._before = self._here
        samples = len(self.clips)
        self._step = self.clips.new_full((samples, 1, 1, 1, 1), 2 * self._bound)
        self._gradient = torch.zeros_like(self.clips)
        self._last_losses = self.clips.new_full((samples,), torch.inf)
        self._rises = torch.zeros(samples, dtype=torch.int64, device=self.clips.device)
        self._halved = torch.zeros(samples, dtype=torch.bool, device=self.clips.device)
        self._best_at_checkpoint = self.clips.new_full((samples,), -torch.inf)
        self.best_losses = self.clips.new_full((samples,), -torch.inf)
        self.best_clips, self._best = self.clips.clone(), self._here
        self._best_gradient = self._gradient
        self.best_logits = self.clips.new_empty(0)

    def note(self, losses: Tensor, logits: Tensor, gradient: Tensor | None) -> None:
        """What the objective says of the present point; no gradient after the last step."""
        losses = losses.to(self.best_losses.dtype)
        self._rises += losses > self._last_losses
        self._last_losses = losses
        if not len(self.best_logits):
            self.best_logits = logits
        better = losses > self.best_losses
        everywhere = better.reshape(-1, 1, 1, 1, 1)
        self.best_losses = torch.where(better, losses, self.best_losses)
        self.best_logits = torch.where(better[:, None], logits, self.best_logits)
        self.best_clips = torch.where(everywhere, self.clips, self.best_clips)
        if gradient is not None:
            self._gradient = gradient
            self._best = torch.where(everywhere, self._here, self._best)
            self._best_gradient = torch.where(everywhere, gradient, self._best_gradient)

    def judge(self, steps: int) -> None:
        """At a checkpoint, `steps` after the last: halve the step, and go back to the best point, where it pays."""
        seldom = self._rises < self._attack.rising * steps
        stuck = ~self._halved & (self.best_losses <= self._best_at_checkpoint)
        self._halved = seldom | stuck
        self._best_at_checkpoint = self.best_losses
        self._rises = torch.zeros_like(self._rises)
        everywhere = self._halved.reshape(-1, 1, 1, 1, 1)
        self._step = torch.where(everywhere, self._step / 2, self._step)
        self._here = torch.where(everywhere, self._best, self._here)
        self._before = torch.where(everywhere, self._best, self._before)
        self._gradient = torch.where(everywhere, self._best_gradient, self._gradient)

    def advance(self) -> None:
        """One step, with the share of the last move that the attack keeps."""
        # The first step is taken whole: there is no last move to keep a share of.
        keeps = 0.0 if self._before is self._here else self._attack.momentum
        direction = self._gradient.sign()
        if self._mask is not None:
            direction.mul_(self._mask)
        ahead = self._within(self._here + direction * self._step)
        moved = self._here + (1 - keeps) * (ahead - self._here) + keeps * (self._here - self._before)
        self._before = self._here
        moved = self._within(moved)
        self.clips = self._attack.project(self._attack.rule.at_coordinate(self._origin, moved), self._origin)
        # Where [0, 1] held a value back, so is its coordinate: the next step starts from where the value is.
        self._here = self._attack.rule.coordinate(self.clips, self._origin)

    def _within(self, coordinate: Tensor) -> Tensor:
        return coordinate.clamp_(-self._bound, self._bound)
