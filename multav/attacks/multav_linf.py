"""MultAV-linf: the paper's multiplicative attack under a ratio bound on every value."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.rules import Multiplicative, Ratio


class MultavLinf(FixedStepAttack):
    """x <- clip[0,1](clip_ratio(x * step_size ** sign(gradient))), max(x'/x, x/x') <= epsilon (equation 3).

    With the paper's 1.04, 1.01 and 5 steps the bound bites from the fourth step on. Black stays black, and a
    value above 1 / epsilon saturates at 1. `random_start` draws the log-ratio uniformly; the paper has none.
    """

    rule: ClassVar = Multiplicative()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{max(x'/x, x/x') <= epsilon}( x^t * step_size^{sign(grad L)} ) )"
    )
    meaning: ClassVar = "every pixel is multiplied by a factor of at most epsilon, or divided by it"
    source: ClassVar = "Lo & Patel, Multiplicative Adversarial Videos, equation 3"

    kind: Literal["multav-linf"] = "multav-linf"
    epsilon: Ratio = Field(1.04, description="ratio bound, above 1 (1.04 lets a value change by 4 %)")
    step_size: Ratio = Field(1.01, description="factor of one step, above 1; alpha in the paper")
