"""The one loop that every attack runs: evaluate, step, project, as often as the specification says.

    x = start
    repeat `steps` times:  x = project(step(x, d loss / d x))

The work is done in one adversarial buffer and in the gradient's own memory. Elementwise attacks are stepped in
pieces that stay in the cache, which makes the update cheap beside the gradient even on full-size video frames.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from multav.attacks.spec import AttackSpec
from multav.randomness import uniform_noise

# Values per piece: the buffers of a step stay in the second-level cache, and torch runs so few values on one
# thread. Waking a second one costs more than it saves, and a hundred times more on a busy machine.
_PIECE: Final = 2**14


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


@dataclass(frozen=True)
class Ascent:
    """Adversarial clips (B, 3, T, H, W) and their logits (B, classes).

    `losses` (steps + 1, B) are those before each step and after the last.
    """

    clips: Tensor
    logits: Tensor
    losses: Tensor


def ascend(
    objective: Objective,
    clips: Tensor,
    attack: AttackSpec,
    *,
    seed: int = 0,
    first_sample: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> Ascent:
    """Climb `objective` (descend it, if `attack.targeted`) from `clips`, within the bound of `attack`.

    `clips` (B, 3, T, H, W) float in [0, 1] are left as they are. Sample i of the batch draws its random numbers
    from (seed, first_sample + i). `on_step` hears of each step before it is taken and may raise.
    """
    clean = clips.contiguous()
    noise = uniform_noise(clean, seed=seed, first_sample=first_sample) if attack.random_start else None
    adversarial = attack.start(clean, noise)
    if noise is not None:
        attack.project(adversarial, clean)
    losses = []
    for step in range(attack.steps):
        if on_step is not None:
            on_step(step)
        evaluation = objective(adversarial)
        losses.append(evaluation.losses)
        gradient = evaluation.gradient.contiguous()
        for moved, slope, origin in _pieces(attack, adversarial, gradient, clean):
            attack.project(attack.step(moved, slope.neg_() if attack.targeted else slope), origin)
    last, logits = objective.score(adversarial)
    return Ascent(adversarial, logits, torch.stack([*losses, last]))


def _pieces(attack: AttackSpec, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of contiguous `tensors`: whole where the ball looks at a whole sample, cache-sized pieces otherwise."""
    if not attack.ball.elementwise:
        yield tensors
        return
    yield from zip(*(torch.split(tensor.view(-1), _PIECE) for tensor in tensors), strict=True)
