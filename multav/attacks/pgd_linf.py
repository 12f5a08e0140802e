"""PGD-linf: the additive twin of MultAV-linf."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.rules import Additive, Distance


class PgdLinf(FixedStepAttack):
    """x <- clip[0,1](clip_epsilon(x + step_size * sign(gradient))), |x' - x| <= epsilon (equation 1).

    The paper's text starts at the clean clip; the authors' training code used advertorch's random start.
    """

    rule: ClassVar = Additive()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{|x' - x| <= epsilon}( x^t + step_size * sign(grad L) ) )"
    )
    meaning: ClassVar = "every pixel moves by at most epsilon"
    source: ClassVar = "Lo & Patel, Multiplicative Adversarial Videos, equation 1 (Madry et al., PGD)"

    kind: Literal["pgd-linf"] = "pgd-linf"
    epsilon: Distance = Field(4 / 255, description="largest change of a value, in (0, 1] (4/255)")
    step_size: Distance = Field(
        1 / 255, description="change of one step, in (0, 1] (1/255); alpha in the paper"
    )
