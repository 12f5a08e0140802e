"""What an attack asks of a model, for each clip at most. Torch-free."""

from dataclasses import dataclass
from typing import Final

from multav.attacks.adaptive_attack import AdaptiveAttack
from multav.attacks.catalogue import AnyAttack
from multav.attacks.regions import Rectangle, Region
from multav.geometry import InputGeometry

GRADIENTS_OF_A_PREDICTION: Final = 0.6
"""A gradient by the clip is a pass forward and one back: of the shipped model 48 ms of 81 ms on a CPU, in float32."""


@dataclass(frozen=True)
class Cost:
    """Gradients by the clip, and predictions: passes forward that no gradient is taken of."""

    gradients: float = 0.0
    predictions: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.gradients + other.gradients, self.predictions + other.predictions)

    def __mul__(self, times: float) -> "Cost":
        return Cost(self.gradients * times, self.predictions * times)

    @property
    def in_gradients(self) -> float:
        """So many gradients take as long."""
        return self.gradients + GRADIENTS_OF_A_PREDICTION * self.predictions


def cost_of(attack: AnyAttack, geometry: InputGeometry, *, look_at_end: bool) -> Cost:
    """Of `attack` as `multav.craft` runs it on clips of `geometry`, with `look_at_end` as there."""
    runs = attack.most_steps // attack.steps
    # Runs that are compared, that clips may leave, or that keep their best point are looked at in any case.
    looks = (
        look_at_end
        or runs > 1
        or isinstance(attack, AdaptiveAttack)
        or bool(getattr(attack, "early_stop", False))
    )
    run = Cost(attack.steps, looks) + _placing(attack.region, geometry)
    # Which classes are tried is chosen by what the model says of the clean clip.
    return run * runs + Cost(predictions=attack.loss == "dlr-targeted")


def _placing(region: Region, geometry: InputGeometry) -> Cost:
    """The search for the place of a rectangle (`multav.attacks.rectangle_search`); other places cost nothing."""
    if not isinstance(region, Rectangle) or region.placement in ("random", "fixed"):
        return Cost()
    down, across = (
        (whole - part) // region.stride + 1
        for whole, part in ((geometry.height, region.height), (geometry.width, region.width))
    )
    if region.placement == "exhaustive":
        return Cost(predictions=down * across)
    return Cost(gradients=1, predictions=min(region.candidates, down * across))
