"""How a perturbation acts on a pixel: by addition or by multiplication.

A rule moves values along a direction and knows what lies within a distance of a clean value. It uses only what
tensors offer, in place where it can, and so never imports torch.
"""

from dataclasses import dataclass
from math import log
from typing import Any, Literal

Tensor = Any


@dataclass(frozen=True)
class Additive:
    """x + step_size * direction; within epsilon of x: [x - epsilon, x + epsilon]."""

    name: Literal["additive"] = "additive"

    def move(self, adversarial: Tensor, direction: Tensor, step_size: float) -> Tensor:
        """Move `adversarial` (changed in place) along `direction` (used up)."""
        return adversarial.add_(direction, alpha=step_size)

    def move_by_sign(self, adversarial: Tensor, sign: Tensor, step_size: float) -> Tensor:
        """`move` along a direction of -1, 0 and 1."""
        return self.move(adversarial, sign, step_size)

    def within(self, clip: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Lowest and highest value that is at most `epsilon` away from each value of `clip`."""
        return clip - epsilon, clip + epsilon


@dataclass(frozen=True)
class Multiplicative:
    """x * step_size ** direction; within epsilon of x: [x / epsilon, x * epsilon], so that zero stays zero.

    max(x'/x, x/x') <= epsilon is written without a division by x, which a black pixel would not survive.
    """

    name: Literal["multiplicative"] = "multiplicative"

    def move(self, adversarial: Tensor, direction: Tensor, step_size: float) -> Tensor:
        """Move `adversarial` (changed in place) along `direction` (used up); direction 0 is the factor 1."""
        return adversarial.mul_(direction.mul_(log(step_size)).exp_())

    def move_by_sign(self, adversarial: Tensor, sign: Tensor, step_size: float) -> Tensor:
        """`move` along a direction of -1, 0 and 1, as the parabola through the three factors.

        Equal to the power up to float rounding, exactly 1 at 0, and several times faster than an exponential.
        """
        odd, even = (step_size - 1 / step_size) / 2, (step_size + 1 / step_size) / 2 - 1
        return adversarial.mul_((sign * sign).mul_(even).add_(sign, alpha=odd).add_(1))

    def within(self, clip: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Lowest and highest value whose ratio to each value of `clip`, or its inverse, is at most `epsilon`."""
        return clip / epsilon, clip * epsilon
