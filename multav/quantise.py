"""Eight bits without breaking the bound: every value is rounded toward the clean one.

At epsilon 1.04 rounding to the nearest level breaks the ratio bound on 116 of 255 levels. Rounding up-moves
down and down-moves up keeps the bound, at the price that dark levels (below 25 at 1.04) cannot move.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from multav.attacks.spec import AttackSpec

# A level kept as float32 and multiplied by 255 misses its integer by less than this.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class LevelBounds:
    """For each clean level 0..255, the lowest and the highest level that a threat model allows (uint8 tables).

    Where a whole clip shares one bound, or pixels are replaced before the attack, a single level says less: then
    the tables are as wide as they may be for one value, whatever the others do.
    """

    lowest: NDArray[np.uint8]
    highest: NDArray[np.uint8]

    @classmethod
    def of(cls, attack: "AttackSpec") -> "LevelBounds":
        """The table of `attack`, from its own projection in float64."""
        if not attack.ball.elementwise:
            return cls(np.zeros(256, np.uint8), np.full(256, 255, np.uint8))
        clean = torch.arange(256, dtype=torch.float64) / 255
        if attack.region.level is not None:
            clean.fill_(attack.region.level)
        lowest = attack.project(torch.zeros_like(clean), clean).clamp(0, 1) * 255
        highest = attack.project(torch.ones_like(clean), clean).clamp(0, 1) * 255
        # 1e-9 forgives float64 rounding of bounds that are whole levels (25 * 1.04 = 26).
        return cls(
            np.ceil(lowest.numpy() - 1e-9).astype(np.uint8), np.floor(highest.numpy() + 1e-9).astype(np.uint8)
        )

    def clamp(self, levels: NDArray[np.uint8], clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`levels` moved into what is allowed around `clean` (same shape)."""
        return np.clip(levels, self.lowest[clean], self.highest[clean])

    def allows(self, clean: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
        """Whether every change from a level of `clean` to one of `other` is allowed; no change always is."""
        inside = (self.lowest[clean] <= other) & (other <= self.highest[clean])
        return bool((inside | (clean == other)).all())


def levels_toward(adversarial: Tensor, clean: Tensor) -> Tensor:
    """The 8-bit levels of `adversarial` (float in [0, 1]), rounded toward `clean` (uint8 levels, same shape).

    Returns uint8 levels between the clean level and the adversarial value, whichever way the value moved.
    """
    values = adversarial * 255.0
    levels = clean.to(values.dtype)
    # The distance moved, cut to whole levels: toward zero is toward the clean level on both sides.
    moved = values.sub_(levels)
    moved.add_(moved.sign(), alpha=_TOLERANCE).trunc_()
    return moved.add_(levels).clamp_(0, 255).to(torch.uint8)
