"""How a perturbation acts on a pixel: by addition or by multiplication.

A rule moves values along a direction and knows what lies within a distance of a clean value. It uses only what
tensors offer, in place where it can, and so never imports torch.
"""

from dataclasses import dataclass
from math import exp, log
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

Tensor = Any

_LARGEST_RATIO: Final = 1e6
_LARGEST_LOG: Final = 700.0


def _is_ratio(value: float) -> float:
    if not 1 < value <= _LARGEST_RATIO:
        raise ValueError(
            f"{value:g} is no ratio to multiply and divide by: it must be above 1 (1.04 changes a value by 4 %) "
            f"and at most {_LARGEST_RATIO:g}"
        )
    return value


def _is_distance(value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError(
            f"{value:g} is not in (0, 1]: pixel values are in [0, 1], so 4 of 255 levels are {4 / 255:.4f}"
        )
    return value


Ratio = Annotated[
    float,
    Field(strict=True, json_schema_extra={"exclusiveMinimum": 1, "maximum": _LARGEST_RATIO}),
    AfterValidator(_is_ratio),
]
"""The unit of the multiplicative rule: a factor above 1."""


def _is_length(value: float) -> float:
    if not 0 < value <= _LARGEST_RATIO:
        raise ValueError(f"{value:g} is no length: it must be above 0 and at most {_LARGEST_RATIO:g}")
    return value


Length = Annotated[
    float,
    Field(strict=True, json_schema_extra={"exclusiveMinimum": 0, "maximum": _LARGEST_RATIO}),
    AfterValidator(_is_length),
]
"""A Euclidean length over all values of a clip, above 0."""

Distance = Annotated[
    float,
    Field(strict=True, json_schema_extra={"exclusiveMinimum": 0, "maximum": 1}),
    AfterValidator(_is_distance),
]
"""The unit of the additive rule: a difference of pixel values in (0, 1]."""


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

    def part(self, step_size: float, share: float) -> float:
        """The step size that is `share` of a step."""
        return step_size * share

    def coordinate_bound(self, epsilon: float) -> float:
        """How far `epsilon` reaches in the coordinate in which the rule adds: the value itself."""
        return epsilon

    def coordinate(self, adversarial: Tensor, origin: Tensor) -> Tensor:
        """Where `adversarial` lies in that coordinate, `origin` being 0."""
        return adversarial - origin

    def at_coordinate(self, origin: Tensor, coordinate: Tensor) -> Tensor:
        """The values at a coordinate."""
        return origin + coordinate

    def displacement(self, adversarial: Tensor, origin: Tensor) -> Tensor:
        """How far each value has moved: x' - x."""
        return adversarial - origin

    def displaced(self, origin: Tensor, displacement: Tensor) -> Tensor:
        """The values that lie `displacement` away from `origin`."""
        return origin + displacement

    def radius(self, epsilon: float) -> float:
        """The step size that leads from the centre of a ball of radius `epsilon` to its edge."""
        return epsilon


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
        """`move` along a direction of -1, 0 and 1, without a power.

        1 + step_size * sign overshoots both 1 / step_size and step_size, so clamping leaves exactly these, and
        exactly 1 at 0; several times faster than an exponential.
        """
        return adversarial.mul_(sign.mul_(step_size).add_(1).clamp_(1 / step_size, step_size))

    def within(self, clip: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """Lowest and highest value whose ratio to each value of `clip`, or its inverse, is at most `epsilon`."""
        return clip / epsilon, clip * epsilon

    def part(self, step_size: float, share: float) -> float:
        """The step size that is `share` of a step: shares of a product are powers."""
        # The power by itself would leave the range of floats.
        return exp(min(log(step_size) * share, _LARGEST_LOG))

    def coordinate_bound(self, epsilon: float) -> float:
        """How far `epsilon` reaches in the coordinate in which the rule adds: the logarithm of the ratio."""
        return log(epsilon)

    def coordinate(self, adversarial: Tensor, origin: Tensor) -> Tensor:
        """Where `adversarial` lies in that coordinate, `origin` being 0; black lies at 0."""
        ratio = (adversarial / origin).where((origin > 0) & (adversarial > 0), adversarial.new_ones(()))
        return ratio.log_()

    def at_coordinate(self, origin: Tensor, coordinate: Tensor) -> Tensor:
        """The values at a coordinate."""
        return origin * coordinate.exp()

    def displacement(self, adversarial: Tensor, origin: Tensor) -> Tensor:
        """How far each value has moved: x'/x - 1, and 0 where x is black (the ratio 0/0 is 1)."""
        moved = adversarial - origin
        return (moved / origin).where(origin > 0, moved.new_zeros(()))

    def displaced(self, origin: Tensor, displacement: Tensor) -> Tensor:
        """The values that lie `displacement` away from `origin`."""
        return origin + origin * displacement

    def radius(self, epsilon: float) -> float:
        """The step size that leads from the centre of a ball of radius `epsilon` to its edge, or near it.

        Along one value alone x' = x * (1 + epsilon) lies on the edge.
        """
        return 1 + epsilon


Rule = Additive | Multiplicative
