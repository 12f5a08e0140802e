"""What the bound limits, and the steepest direction within it.

The ratio bound is the ball of the multiplicative rule.
"""

from dataclasses import dataclass
from typing import Any, Literal

from multav.attacks.rules import Additive, Multiplicative

Tensor = Any
Rule = Additive | Multiplicative


@dataclass(frozen=True)
class Linf:
    """Every value on its own: the direction is the sign of the gradient (0 where the gradient is 0).

    Elementwise: pieces of a clip can be stepped and projected one after the other.
    """

    name: Literal["linf"] = "linf"
    elementwise: bool = True

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """Move every value by one step up its own gradient; both arguments are used up."""
        return rule.move_by_sign(adversarial, gradient.sign_(), step_size)

    def project(self, rule: Rule, adversarial: Tensor, clip: Tensor, epsilon: float) -> Tensor:
        """The nearest value within `epsilon` of `clip`, in place."""
        return adversarial.clamp_(*rule.within(clip, epsilon))

    def start(self, rule: Rule, clip: Tensor, noise: Tensor, epsilon: float) -> Tensor:
        """A point of the ball: `noise` is uniform in [-1, 1] and is the fraction of epsilon to go."""
        return rule.move(clip.clone(), noise, epsilon)
