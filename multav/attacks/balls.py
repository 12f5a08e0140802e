"""What the bound limits, and the steepest direction within it.

The ratio bound is the ball of the multiplicative rule.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from multav.attacks.rules import Rule

Tensor = Any


class Ball(Protocol):
    """A norm's share of an attack. Tensors are (B, 3, T, H, W), or pieces of them if `elementwise`.

    Every method works in place on `adversarial`, uses up the direction that it is given, and returns `adversarial`.
    """

    @property
    def name(self) -> str:
        """The norm."""
        ...

    @property
    def elementwise(self) -> bool:
        """Whether values do not see each other, so that a clip can be worked on piece by piece."""
        ...

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """Move one step up the gradient."""
        ...

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        """Move to the nearest point within `epsilon` of `origin`."""
        ...

    def scatter(self, rule: Rule, adversarial: Tensor, noise: Tensor, epsilon: float) -> Tensor:
        """Move from the centre of the ball to a random point of it; `noise` is uniform in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Linf:
    """Every value on its own: the direction is the sign of the gradient (0 where the gradient is 0)."""

    name: Literal["linf"] = "linf"
    elementwise: bool = True

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """Move every value by one step up its own gradient."""
        return rule.move_by_sign(adversarial, gradient.sign_(), step_size)

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        """Clamp every value between the two ends of its own bound."""
        return adversarial.clamp_(*rule.within(origin, epsilon))

    def scatter(self, rule: Rule, adversarial: Tensor, noise: Tensor, epsilon: float) -> Tensor:
        """Move every value by its noise times epsilon: uniform, or log-uniform under multiplication."""
        return rule.move(adversarial, noise, epsilon)
