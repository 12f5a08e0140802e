from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
import torch
from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    losses: Tensor
    logits: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Ascent:
    clips: Tensor
    logits: Tensor
    losses: Tensor


def ascend(
    objective: Any,
    clips: Tensor,
    attack: Any,
    *,
    seed: int = 0,
    first_sample: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> Ascent:
    adversarial = clips.clone()
    losses = []
    sign = -1 if attack.targeted else 1
    for step in range(attack.steps):
        if on_step:
            on_step(step)
        ev = objective(adversarial)
        losses.append(ev.losses)
        adversarial = attack.project(attack.step(adversarial, ev.gradient.mul_(sign)), clips).clamp_(0, 1)
    last, logits = objective.score(adversarial)
    return Ascent(adversarial, logits, torch.stack([*losses, last]))
