"""What every attack is: a frozen specification that joins a rule, a ball and a region. Torch-free.

The gradient loop asks a specification to `step` and `project`, and its region where to act; a kind is its choice
of rule, ball and region, and its defaults. Tensors are (B, 3, T, H, W) float in [0, 1] unless said otherwise.
"""

from abc import ABC
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from multav.attacks.balls import Ball
from multav.attacks.regions import Region, WholeClip
from multav.attacks.rules import Rule

Tensor = Any
Steps = Annotated[int, Field(strict=True, ge=1, le=10_000)]


class AttackSpec(BaseModel, ABC):
    """The setting of one attack, compared by value and printed whole.

    `epsilon` bounds the perturbation, `step_size` is the length of one of `steps` gradient steps. `steps: 1` is
    the single-step version. With `targeted` the labels are classes to reach and the loss is descended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rule: ClassVar[Rule]
    ball: ClassVar[Ball]
    equation: ClassVar[str]
    meaning: ClassVar[str]
    source: ClassVar[str]

    kind: str
    epsilon: float
    step_size: float
    steps: Steps = Field(5, description="number of gradient steps, T in the paper")
    random_start: StrictBool = Field(
        False, description="start at a random point within the bound instead of the clean clip"
    )
    targeted: StrictBool = Field(False, description="labels are classes to reach instead of to leave")

    @property
    def region(self) -> Region:
        """Where the attack may act; a kind with a region of its own builds it from its fields."""
        return WholeClip()

    def step(self, adversarial: Tensor, gradient: Tensor) -> Tensor:
        """One step up the loss whose gradient is given. Both arguments are used up: work goes on in place."""
        return self.ball.step(self.rule, adversarial, gradient, self.step_size)

    def scatter(self, adversarial: Tensor, noise: Tensor) -> Tensor:
        """From the centre to a random point of the bound; `noise` is uniform in [-1, 1]. Both are used up."""
        return self.ball.scatter(self.rule, adversarial, noise, self.epsilon)

    def project(self, adversarial: Tensor, origin: Tensor) -> Tensor:
        """The nearest point within `epsilon` of `origin` and within [0, 1], in place."""
        return self.ball.project(self.rule, adversarial, origin, self.epsilon).clamp_(0, 1)
