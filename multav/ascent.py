"""Climbing a loss within the bound and the region of an attack: from clips to adversarial clips.

Places the region, runs the attack's search as often as it is to be restarted (and toward each of several classes,
if the loss asks for it), and keeps the best run of each sample: one that fools the model before one that does not,
then the one of the higher loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import torch
from torch import Tensor

from multav.adaptive_search import adaptive_search
from multav.attacks.adaptive_attack import AdaptiveAttack
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.regions import Region, origin
from multav.attacks.spec import AttackSpec
from multav.gradient_loop import Start, gradient_loop
from multav.objective import Descent, Objective
from multav.pieces import move
from multav.randomness import Draws


@dataclass(frozen=True)
class Ascent:
    """Adversarial clips (B, 3, T, H, W) and their logits (B, classes).

    `losses` (steps + 1, B) are those before each step and of the adversarial clips. `mask` is bool (B, 1, T, H, W),
    true where the attack could act; None means everywhere. `gradients` int64 (B,): how many were spent on each clip,
    in all runs together.
    """

    clips: Tensor
    logits: Tensor
    losses: Tensor
    mask: Tensor | None
    gradients: Tensor


def ascend(
    objective: Objective,
    clips: Tensor,
    attack: AttackSpec,
    *,
    seed: int = 0,
    first_sample: int | Sequence[int] = 0,
    on_step: Callable[[int], None] | None = None,
    region: Region | None = None,
    look_at_end: bool = True,
) -> Ascent:
    """Climb `objective` (descend it, if `attack.targeted`) from `clips`, within the bound and region of `attack`.

    `clips` (B, 3, T, H, W) float in [0, 1] are left as they are. Sample i of the batch draws its random numbers
    from (seed, first_sample + i), or from (seed, first_sample[i]). `on_step` hears of each step before it is taken
    and may raise. `region` takes the place of the attack's own. Without `look_at_end` an attack that has nothing to
    choose from does not ask what the model says of its result: logits and last losses are those before the last step.
    """
    clean = clips.contiguous()
    draws = Draws(clean, seed=seed, first_sample=first_sample)
    goal: Objective = Descent(objective) if attack.targeted else objective
    goals = goal.rivals(clean, attack.target_classes) if attack.loss == "dlr-targeted" else (goal,)
    chooses = len(goals) * attack.restarts > 1 or getattr(attack, "early_stop", False)
    runs = (
        _run(each, clean, attack, region or attack.region, draws, on_step, look_at_end or chooses)
        for each in goals
        for _ in range(attack.restarts)
    )
    best = reduce(partial(_better, goal), runs)
    return replace(best, losses=best.losses.neg()) if attack.targeted else best


def _run(
    goal: Objective,
    clean: Tensor,
    attack: AttackSpec,
    region: Region,
    draws: Draws,
    on_step: Callable[[int], None] | None,
    look_at_end: bool,
) -> Ascent:
    """One search from one start."""
    mask = region.place(clean, draws, goal)
    centre = origin(region, clean, mask)
    adversarial = centre.clone()
    if attack.random_start:
        move(attack, attack.scatter, adversarial, draws.noise(), centre, mask)
    start = Start(adversarial, centre, mask)
    if isinstance(attack, AdaptiveAttack):
        found = adaptive_search(goal, start, attack, on_step)
    elif isinstance(attack, FixedStepAttack):
        found = gradient_loop(goal, start, attack, on_step, look_at_end=look_at_end)
    else:
        raise TypeError(f"no search is known for {type(attack).__name__}")
    return Ascent(found.clips, found.logits, found.losses, mask, found.gradients)


def _better(goal: Objective, one: Ascent, other: Ascent) -> Ascent:
    """Of each sample the better run."""
    fools, others = goal.fooled(one.logits), goal.fooled(other.logits)
    wins = (others & ~fools) | ((others == fools) & (other.losses[-1] > one.losses[-1]))

    def chosen(a: Tensor, b: Tensor, dimension: int = 0) -> Tensor:
        shape = [1] * a.ndim
        shape[dimension] = len(wins)
        return torch.where(wins.reshape(shape), b, a)

    mask = None
    if one.mask is not None and other.mask is not None:
        mask = chosen(one.mask, other.mask)
    return Ascent(
        chosen(one.clips, other.clips),
        chosen(one.logits, other.logits),
        chosen(one.losses, other.losses, dimension=1),
        mask,
        one.gradients + other.gradients,
    )
