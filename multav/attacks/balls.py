"""What the bound limits, and the steepest direction within it.

The ratio bound is the ball of the multiplicative rule.
"""

from dataclasses import dataclass
from math import prod, sqrt
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

    def enlarged(self, epsilon: float, root: float) -> float:
        """The epsilon that allows each value as much, on clips of `root` squared times as many values."""
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

    def enlarged(self, epsilon: float, root: float) -> float:  # noqa: ARG002
        """As it is: every value has its own bound."""
        return epsilon


@dataclass(frozen=True)
class L2:
    """All values of a clip together: the direction is the gradient divided by its own l2 norm.

    `start` is where a random start lies: on the `sphere` around the centre (a uniform point of a ball of so many
    dimensions lies there), or an `image` of uniform pixels drawn into the ball, as advertorch does it (over
    whole clips: it knows no region).
    """

    start: Literal["sphere", "image"] = "sphere"
    name: Literal["l2"] = "l2"
    elementwise: bool = False

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """Move every clip by one step of length 1 (times the step size) up its gradient; not at all where it is 0."""
        return rule.move(adversarial, _unit(gradient), step_size)

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        """Shorten the displacement of every clip to `epsilon`; a clip within the ball stays bit by bit."""
        displacement = rule.displacement(adversarial, origin)
        shrink = epsilon / _norm(displacement)
        nearest = rule.displaced(origin, displacement.mul_(shrink.to(displacement.dtype)))
        return adversarial.copy_(nearest.where(shrink < 1, adversarial))

    def scatter(self, rule: Rule, adversarial: Tensor, noise: Tensor, epsilon: float) -> Tensor:
        """Move every clip to its random start (see the class)."""
        if self.start == "image":
            return adversarial.copy_(noise.add_(1).div_(2))
        return rule.move(adversarial, _unit(_normal(noise)), rule.radius(epsilon))

    def enlarged(self, epsilon: float, root: float) -> float:
        """A norm of so many more equal values is `root` times as long."""
        return epsilon * root


@dataclass(frozen=True)
class WholeRatio:
    """The l2 norm of x'/x itself, not of its distance from 1: at most epsilon + 1, as equation 4 is printed.

    The norm of a clip that is not changed at all is the root of its number of values, far above the paper's 161:
    this reading darkens every clip. `per_value` divides the norm by that root; the bound then never acts.
    """

    per_value: bool = False
    elementwise: bool = False

    @property
    def name(self) -> str:
        """The norm."""
        return "l2-rms" if self.per_value else "l2-literal"

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """As `L2.step`."""
        return rule.move(adversarial, _unit(gradient), step_size)

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        """Shrink the ratio of every clip to the allowed norm; black pixels, which cannot shrink, do not count."""
        ratio = rule.displacement(adversarial, origin).add_(1).mul_(origin > 0)
        allowed = (epsilon + 1) * (sqrt(prod(origin.shape[1:])) if self.per_value else 1)
        shrink = allowed / _norm(ratio)
        nearest = origin * ratio.mul_(shrink.to(ratio.dtype))
        return adversarial.copy_(nearest.where(shrink < 1, adversarial))

    def scatter(self, rule: Rule, adversarial: Tensor, noise: Tensor, epsilon: float) -> Tensor:
        """As `L2.scatter` on the sphere."""
        return rule.move(adversarial, _unit(_normal(noise)), rule.radius(epsilon))

    def enlarged(self, epsilon: float, root: float) -> float:
        """As `L2.enlarged`, of epsilon + 1; a mean over the values is what it is for any number of them."""
        return epsilon if self.per_value else (epsilon + 1) * root - 1


def _norm(values: Tensor) -> Tensor:
    """l2 norm of every clip, float64 (B, 1, 1, 1, 1): squares of small gradients vanish in float32."""
    squares = values.double().square().flatten(1).sum(1)
    return squares.sqrt().reshape(-1, *[1] * (values.ndim - 1))


def _unit(direction: Tensor) -> Tensor:
    """`direction` (used up) divided by the norm of every clip; a clip without direction stays without.

    An undefined value counts as 0, as it does for a sign; else it would be the norm of its whole clip.
    """
    norm = _norm(direction.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0))
    return direction.mul_(norm.reciprocal().where(norm > 0, norm).to(direction.dtype))


def _normal(noise: Tensor) -> Tensor:
    """Normally distributed values from uniform ones in [-1, 1] (used up); at the very ends they would be infinite."""
    return noise.mul_(1 - 2**-24).erfinv_()
