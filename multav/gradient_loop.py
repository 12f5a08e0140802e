"""The one loop that every attack of a fixed step size runs: evaluate, step, project, as often as specified.

    x = start
    repeat `steps` times:  x = project(step(x, d loss / d x), origin)

The work is done in one adversarial buffer and in the gradient's own memory. With `early_stop` samples that fool
the model leave the batch, so that the rest of it gets cheaper.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.objective import Evaluation, Objective
from multav.pieces import move


@dataclass(frozen=True)
class Start:
    """Where a search begins: clips (used up), the centre of their bound, and where they may move (None: everywhere)."""

    clips: Tensor
    origin: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class Found:
    """Where a search ended: clips, logits (B, classes), losses (steps + 1, B) on the way, gradients spent (B,)."""

    clips: Tensor
    logits: Tensor
    losses: Tensor
    gradients: Tensor


def gradient_loop(
    goal: Objective,
    start: Start,
    attack: FixedStepAttack,
    on_step: Callable[[int], None] | None,
    *,
    look_at_end: bool = True,
) -> Found:
    """Climb `goal` from `start`; `on_step` hears of each step before it is taken and may raise.

    Without `look_at_end` logits and last losses are those before the last step: a forward pass less.
    """
    climb = _Climb(goal, start.clips, start.origin, start.mask)
    trace: list[Tensor] = []
    for step in range(attack.steps):
        if on_step is not None:
            on_step(step)
        evaluation = climb.goal(climb.clips)
        trace.append(climb.in_batch(evaluation.losses, trace))
        climb.spent[climb.rows] += 1
        gradient = evaluation.gradient
        if attack.early_stop:
            going = ~climb.goal.fooled(evaluation.logits)
            if not going.all():
                climb.leave(~going, evaluation.logits)
                if not len(climb.rows):
                    break
                climb.keep(going)
                gradient = gradient[going]
        gradient = climb.direction(gradient.contiguous(), attack.momentum)
        along = partial(attack.step, share=attack.share(step))
        move(attack, along, climb.clips, gradient, climb.origin, climb.mask)
    return climb.found(trace, attack.steps, None if look_at_end else evaluation)


class _Climb:
    """The samples that are still climbing, and what those that have left the batch have reached."""

    def __init__(self, goal: Objective, clips: Tensor, origin: Tensor, mask: Tensor | None) -> None:
        self.goal, self.clips, self.origin, self.mask = goal, clips, origin, mask
        self.rows = torch.arange(len(clips), device=clips.device)
        self.spent = torch.zeros(len(clips), dtype=torch.int64, device=clips.device)
        self._size = len(clips)
        self._memory: Tensor | None = None
        self._left: list[tuple[Tensor, Tensor, Tensor]] = []

    def in_batch(self, losses: Tensor, trace: list[Tensor]) -> Tensor:
        """The losses of the whole batch: those who have left keep their last."""
        return losses if len(losses) == self._size else trace[-1].index_copy(0, self.rows, losses)

    def leave(self, done: Tensor, logits: Tensor) -> None:
        """Note where the samples `done` (bool) are, with the logits of all; `keep` the others then."""
        self._left.append((self.rows[done], self.clips[done], logits[done]))
        self.rows = self.rows[~done]

    def keep(self, going: Tensor) -> None:
        """Go on with the samples `going` (bool) alone."""
        self.clips, self.origin = self.clips[going], self.origin[going]
        self.mask = None if self.mask is None else self.mask[going]
        self._memory = None if self._memory is None else self._memory[going]
        self.goal = self.goal.select(going.nonzero()[:, 0])

    def direction(self, gradient: Tensor, momentum: float) -> Tensor:
        """The gradient, or with momentum the sum of it and of the faded former ones, each of mean size 1."""
        if not momentum:
            return gradient
        if self.mask is not None:
            gradient.mul_(self.mask)
        size = gradient.abs().flatten(1).mean(1).reshape(-1, 1, 1, 1, 1)
        gradient.mul_(torch.where(size > 0, size.reciprocal(), size))
        if self._memory is None:
            self._memory = torch.zeros_like(gradient)
        return self._memory.mul_(momentum).add_(gradient).clone()

    def found(self, trace: list[Tensor], steps: int, before: Evaluation | None) -> Found:
        """The end of all samples: of those that are climbing still as it was said `before`, or as it is asked now."""
        if len(self.rows):
            last, logits = (
                self.goal.score(self.clips) if before is None else (trace[-1][self.rows], before.logits)
            )
            trace.append(self.in_batch(last, trace))
            if not self._left:
                return Found(self.clips, logits, torch.stack(trace), self.spent)
            self._left.append((self.rows, self.clips, logits))
        trace += [trace[-1]] * (steps + 1 - len(trace))
        order = torch.cat([rows for rows, _, _ in self._left]).argsort()
        clips, logits = (torch.cat(parts)[order] for parts in list(zip(*self._left, strict=True))[1:])
        return Found(clips, logits, torch.stack(trace), self.spent)
