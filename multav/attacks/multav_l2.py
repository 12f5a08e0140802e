"""MultAV-l2: the paper's multiplicative attack with a Euclidean bound on the ratio."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.balls import L2, Ball, WholeRatio
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.rules import Length, Multiplicative, Ratio


class MultavL2(FixedStepAttack):
    """x <- clip[0,1](clip_ratio(x * step_size ** (gradient / ||gradient||))) (equation 4).

    The paper bounds ||x'/x|| by epsilon + 1, which the clean clip itself breaks: its ratio is 1 everywhere, so its
    norm is the root of the number of values, 1227 for the paper's clips against 161. `bound` chooses the reading:
    `change`, ||x'/x - 1|| <= epsilon, is the exact analogue of equation 2 and the default; `rms` divides the
    printed norm by that root (it never acts); `literal` is as printed and darkens every video.
    """

    rule: ClassVar = Multiplicative()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{||x'/x - 1||_2 <= epsilon}( x^t * step_size^{grad L / ||grad L||_2} ) )"
    )
    meaning: ClassVar = (
        "a clip's values are multiplied so that its relative change has a Euclidean length of at most epsilon"
    )
    source: ClassVar = "Lo & Patel, Multiplicative Adversarial Videos, equation 4"

    kind: Literal["multav-l2"] = "multav-l2"
    epsilon: Length = Field(160.0, description="largest Euclidean length of a clip's relative change")
    step_size: Ratio = Field(3.55, description="factor of a step along one value alone; alpha in the paper")
    bound: Literal["change", "rms", "literal"] = Field(
        "change",
        description="what epsilon bounds: ||x'/x - 1||, the root mean square of x'/x, or ||x'/x|| as printed",
    )

    @property
    def ball(self) -> Ball:
        """The reading of the bound."""
        return L2() if self.bound == "change" else WholeRatio(per_value=self.bound == "rms")
