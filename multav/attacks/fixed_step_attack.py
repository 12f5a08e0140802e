"""Attacks that take steps of a length set beforehand, as all of the paper's do. Torch-free."""

from abc import ABC
from math import cos, pi, sqrt
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool

from multav.attacks.spec import AttackSpec

Tensor = Any


class FixedStepAttack(AttackSpec, ABC):
    """`step_size` is the length of one of `steps` gradient steps. `steps: 1` is the single-step version."""

    step_size: float
    momentum: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        0.0, description="share of the former direction that is kept (Dong et al., MI-FGSM); 0 is none"
    )
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="how the step size falls over the steps: not at all, linearly, or as a cosine"
    )

    early_stop: StrictBool = Field(
        False, description="leave a clip as it is once the model is fooled, and spend no more gradients on it"
    )

    @property
    def ends_with_a_score(self) -> bool:
        """See `AttackSpec`: with early stop clips are left where they are."""
        return not self.early_stop

    def step(self, adversarial: Tensor, gradient: Tensor, *, share: float = 1.0) -> Tensor:
        """One step up the loss whose gradient is given, or `share` of it.

        Both arguments are used up: work goes on in place.
        """
        return self.ball.step(self.rule, adversarial, gradient, self.rule.part(self.step_size, share))

    def enlarged(self, times: float) -> Self:
        """The same attack on clips of `times` as many values: a bound on a whole clip grows with it, and its step.

        On average every value may move as far, and moves as far in a step. For `multav.craft` a clip is what it is
        given; source frames have many values for each of the model's.
        """
        if self.ball.elementwise:
            return self
        root = sqrt(times)
        fields = {
            "epsilon": self.ball.enlarged(self.epsilon, root),
            "step_size": self.rule.part(self.step_size, root),
        }
        return self.model_copy(update=fields)

    def share(self, step: int) -> float:
        """How much of the step size step number `step` (from 0) takes, in (0, 1]."""
        if self.schedule == "linear":
            return 1 - step / self.steps
        if self.schedule == "cosine":
            return (1 + cos(pi * step / self.steps)) / 2
        return 1.0
