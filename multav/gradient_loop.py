"""The one loop that every attack runs: evaluate, step, project, as often as the specification says.

    x = origin, or a random point of the bound
    repeat `steps` times:  x = project(step(x, d loss / d x), origin)

The work is done in one adversarial buffer and in the gradient's own memory. Elementwise attacks are stepped in
pieces that stay in the cache, which makes the update cheap beside the gradient even on full-size video frames.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from multav.attacks.spec import AttackSpec
from multav.randomness import Draws

# Values per piece. On a CPU the buffers of a step stay in the second-level cache, and torch runs fewer than 2**15
# values on one thread: waking others costs more than it saves, and a hundred times more on a busy machine. An
# accelerator wants few large pieces; two temporaries of this size are all that an update adds to its memory.
_CPU_PIECE: Final = 2**15 - 2**6
_ACCELERATOR_PIECE: Final = 2**24


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

    `losses` (steps + 1, B) are those before each step and after the last. `mask` is bool (B, 1, T, H, W), true
    where the attack could act; None means everywhere.
    """

    clips: Tensor
    logits: Tensor
    losses: Tensor
    mask: Tensor | None


def ascend(
    objective: Objective,
    clips: Tensor,
    attack: AttackSpec,
    *,
    seed: int = 0,
    first_sample: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> Ascent:
    """Climb `objective` (descend it, if `attack.targeted`) from `clips`, within the bound and region of `attack`.

    `clips` (B, 3, T, H, W) float in [0, 1] are left as they are. Sample i of the batch draws its random numbers
    from (seed, first_sample + i). `on_step` hears of each step before it is taken and may raise.
    """
    clean = clips.contiguous()
    draws = Draws(clean, seed=seed, first_sample=first_sample)
    mask = attack.region.place(clean, draws, objective)
    origin = attack.region.origin(clean, mask)
    adversarial = origin.clone()
    if attack.random_start:
        _move(attack, attack.scatter, adversarial, draws.noise(), origin, mask)
    losses = []
    for step in range(attack.steps):
        if on_step is not None:
            on_step(step)
        evaluation = objective(adversarial)
        losses.append(evaluation.losses)
        gradient = evaluation.gradient.neg_() if attack.targeted else evaluation.gradient
        _move(attack, attack.step, adversarial, gradient.contiguous(), origin, mask)
    last, logits = objective.score(adversarial)
    return Ascent(adversarial, logits, torch.stack([*losses, last]), mask)


def _move(
    attack: AttackSpec,
    along: Callable[[Tensor, Tensor], Tensor],
    adversarial: Tensor,
    direction: Tensor,
    origin: Tensor,
    mask: Tensor | None,
) -> None:
    """Move `adversarial` along `direction` (used up) where `mask` allows it, then back into the bound."""
    if mask is not None:
        direction.mul_(mask)
    for moved, there, around in _pieces(attack, adversarial, direction, origin):
        attack.project(along(moved, there), around)


def _pieces(attack: AttackSpec, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of contiguous `tensors`: whole where the ball looks at a whole sample, pieces of them otherwise."""
    if not attack.ball.elementwise:
        yield tensors
        return
    size = _CPU_PIECE if tensors[0].device.type == "cpu" else _ACCELERATOR_PIECE
    yield from zip(*(torch.split(tensor.view(-1), size) for tensor in tensors), strict=True)
