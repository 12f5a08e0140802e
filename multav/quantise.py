"""A file's whole values without breaking the bound: every value is rounded toward the clean one.

At epsilon 1.04 rounding to the nearest 8-bit level breaks the ratio bound on 116 of 255 levels. Rounding up-moves
down and down-moves up keeps the bound, at the price that dark levels (below 25 at 1.04) cannot move. On a deeper
grid (`multav.grid`) they can; the rule is the same.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multav.errors import InvalidSpec
from multav.grid import EIGHT_BITS, Grid

if TYPE_CHECKING:
    from multav.attacks.spec import AttackSpec

# A level kept as float32 and multiplied by 255 misses its integer by less than this.
_TOLERANCE = 1e-4
# The same for deeper codes, as a share of the value: four steps of a float32.
_DEEP_TOLERANCE = 2.0**-22
_BLOCK = 2**21

Table = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class LevelBounds:
    """For each clean value the lowest and the highest code of `grid` that a threat model allows around it.

    Both are exact: around the clean value itself, not around its place on the grid.
    Where a whole clip shares one bound, or pixels are replaced before the attack, a single level says less: then
    the tables are as wide as they may be for one value, whatever the others do.
    """

    lowest: Table
    highest: Table
    grid: Grid = EIGHT_BITS

    @classmethod
    def of(cls, attack: "AttackSpec", grid: Grid = EIGHT_BITS) -> "LevelBounds":
        """The table of `attack`, from its own projection in float64.

        Raises `InvalidSpec` where the grid is too coarse to hold an unmoved value within the bound.
        """
        count = grid.clean_peak + 1
        if not attack.ball.elementwise:
            return cls(np.zeros(count, grid.dtype), np.full(count, grid.peak, grid.dtype), grid)
        clean = torch.arange(count, dtype=torch.float64) / grid.clean_peak
        if attack.region.level is not None:
            clean.fill_(attack.region.level)
        lowest = attack.project(torch.zeros_like(clean), clean).clamp(0, 1) * grid.peak
        highest = attack.project(torch.ones_like(clean), clean).clamp(0, 1) * grid.peak
        # 1e-9 forgives float64 rounding of bounds that are whole levels (25 * 1.04 = 26).
        bounds = cls(
            np.ceil(lowest.numpy() - 1e-9).astype(grid.dtype),
            np.floor(highest.numpy() + 1e-9).astype(grid.dtype),
            grid,
        )
        if attack.region.level is None:
            bounds._refuse_coarse(attack)
        return bounds

    def clamp(self, levels: NDArray[Any], clean: NDArray[Any]) -> NDArray[Any]:
        """`levels` moved into what is allowed around `clean` (same shape)."""
        allowed: NDArray[Any] = np.clip(levels, self.lowest[clean], self.highest[clean])
        return allowed

    def allows(self, clean: NDArray[Any], other: NDArray[Any]) -> bool:
        """Whether every change from a value of `clean` to a code of `other` is allowed; no change always is."""
        inside = (self.lowest[clean] <= other) & (other <= self.highest[clean])
        return bool((inside | (other == self.grid.unmoved_codes[clean])).all())

    def _refuse_coarse(self, attack: "AttackSpec") -> None:
        unmoved = self.grid.unmoved_codes
        if ((self.lowest <= unmoved) & (unmoved <= self.highest)).all():
            return
        detail = (
            f"on {self.grid.bits} bits even an unmoved value of this {self.grid.clean_bits}-bit video would leave "
            f"epsilon {attack.epsilon:g}: set bits 16, or a larger epsilon"
        )
        raise InvalidSpec.at("/bits", detail)


def levels_toward(adversarial: Tensor, clean: Tensor, grid: Grid = EIGHT_BITS) -> Tensor:
    """The codes of `adversarial` (float in [0, 1]) on `grid`, rounded toward `clean` (clean values, same shape).

    Each is between the clean value and the adversarial one, whichever way that moved; where no code is, the one
    nearest to the clean value. uint8 at 8 bits, else int32.
    """
    if grid.bits != 8:
        return _codes_toward(adversarial, clean, grid)
    values = adversarial * 255.0
    levels = clean.to(values.dtype)
    # The distance moved, cut to whole levels: toward zero is toward the clean level on both sides.
    moved = values.sub_(levels)
    moved.add_(moved.sign(), alpha=_TOLERANCE).trunc_()
    return moved.add_(levels).clamp_(0, 255).to(torch.uint8)


def _codes_toward(adversarial: Tensor, clean: Tensor, grid: Grid) -> Tensor:
    """In float64, so that nothing but the attack's own rounding counts; in blocks, because that is twice as large."""
    codes = torch.empty(clean.shape, dtype=torch.int32, device=clean.device)
    parts = (torch.split(tensor.reshape(-1), _BLOCK) for tensor in (adversarial, clean, codes))
    for values, origin, out in zip(*parts, strict=True):
        value = values.double().mul_(grid.peak)
        centre = origin.double().mul_(grid.peak / grid.clean_peak)
        up, tolerance = value > centre, value * _DEEP_TOLERANCE
        code = torch.where(up, (value + tolerance).floor_(), (value - tolerance).ceil_())
        # Toward the clean value, not past it: there its own nearest code is closer.
        past = torch.where(up, code < centre - tolerance, code > centre + tolerance)
        out.copy_(torch.where(past, grid.unmoved_tensor(origin).double(), code).clamp_(0, grid.peak))
    return codes
