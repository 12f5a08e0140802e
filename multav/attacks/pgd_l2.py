"""PGD-l2: the additive twin of MultAV-l2."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.balls import L2, Ball
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.rules import Additive, Length


class PgdL2(FixedStepAttack):
    """x <- clip[0,1](clip_epsilon(x + step_size * gradient / ||gradient||)), ||x' - x|| <= epsilon (equation 2).

    Norms are those of a whole clip with values in [0, 1]. From the clean clip five steps of 1 never reach the
    paper's 160; with `random_start` from an `image`, as in the authors' code, the bound acts.
    """

    rule: ClassVar = Additive()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{||x' - x||_2 <= epsilon}( x^t + step_size * grad L / ||grad L||_2 ) )"
    )
    meaning: ClassVar = "a clip moves by at most epsilon in Euclidean length"
    source: ClassVar = "Lo & Patel, Multiplicative Adversarial Videos, equation 2 (Madry et al., PGD)"

    kind: Literal["pgd-l2"] = "pgd-l2"
    epsilon: Length = Field(
        160.0, description="largest Euclidean length of a clip's change, values in [0, 1]"
    )
    step_size: Length = Field(1.0, description="length of one step; alpha in the paper")
    start: Literal["image", "sphere"] = Field(
        "image",
        description="a random start: uniform pixels drawn into the ball (the authors' code), or a random direction",
    )

    @property
    def ball(self) -> Ball:
        """The Euclidean ball."""
        return L2(self.start)
