"""Moving clips in place, piece by piece where the ball allows it.

The update of an attack is many small operations on every value. On pieces that stay in the cache it is cheap
beside the gradient even on full-size video frames.
"""

from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor

from multav.attacks.spec import AttackSpec

# Values per piece. On a CPU the buffers of a step stay in the second-level cache, and torch runs fewer than 2**15
# values on one thread: waking others costs more than it saves, and a hundred times more on a busy machine. An
# accelerator wants few large pieces; two temporaries of this size are all that an update adds to its memory.
_CPU_PIECE: Final = 2**15 - 2**6
_ACCELERATOR_PIECE: Final = 2**24


def move(
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
    for moved, there, around in pieces(attack, adversarial, direction, origin):
        attack.project(along(moved, there), around)


def pieces(attack: AttackSpec, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of contiguous `tensors`: whole where the ball looks at a whole sample, pieces of them otherwise."""
    if not attack.ball.elementwise:
        yield tensors
        return
    size = _CPU_PIECE if tensors[0].device.type == "cpu" else _ACCELERATOR_PIECE
    yield from zip(*(torch.split(tensor.view(-1), size) for tensor in tensors), strict=True)
