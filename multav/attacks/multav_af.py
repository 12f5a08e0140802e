"""MultAV-AF: adversarial framing under a ratio bound."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.border_attack import BorderAttack
from multav.attacks.rules import Multiplicative, Ratio


class MultavAf(BorderAttack):
    """Equation 3 within the border of every frame. With the paper's 3.55 and 1.7 the bound bites from step 3 on."""

    rule: ClassVar = Multiplicative()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{max(x'/x, x/x') <= epsilon}( x^t * step_size^{M * sign(grad L)} ) ), "
        "M = 1 in the outermost pixels of every frame"
    )
    meaning: ClassVar = "the pixels of a frame's border are multiplied or divided by at most epsilon"
    source: ClassVar = (
        "Lo & Patel, Multiplicative Adversarial Videos, equation 3 in the region of AF (Zajac et al.)"
    )

    kind: Literal["multav-af"] = "multav-af"
    epsilon: Ratio = Field(3.55, description="ratio bound, above 1")
    step_size: Ratio = Field(1.7, description="factor of one step, above 1; alpha in the paper")
