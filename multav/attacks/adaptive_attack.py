"""Attacks that find their step size themselves: APGD, under whatever rule. Torch-free."""

from abc import ABC
from typing import Annotated

from pydantic import Field

from multav.attacks.spec import AttackSpec, Steps


class AdaptiveAttack(AttackSpec, ABC):
    """APGD (Croce & Hein) in the coordinate in which the rule adds: pixel values, or their logarithms.

    The first step reaches from edge to edge of the bound. At checkpoints the step is halved and the search goes
    on from the best point where the loss has risen too seldom; the best point of all is the result.
    """

    steps: Steps = Field(50, description="number of gradient steps")
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        0.25, description="share of the last move in the next one"
    )
    rising: Annotated[float, Field(strict=True, gt=0, lt=1)] = Field(
        0.75,
        description="share of the steps between checkpoints on which the loss must rise, else the step is halved",
    )

    @property
    def ends_with_a_score(self) -> bool:
        """See `AttackSpec`: the best point of all is on the way."""
        return False
