"""AF: adversarial framing, the additive twin of MultAV-AF."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.border_attack import BorderAttack
from multav.attacks.rules import Additive, Distance


class Af(BorderAttack):
    """Equation 1 within the border of every frame. With the paper's epsilon of 1 only the range [0, 1] limits it.

    The original framing is universal and enlarges the frame; this one, like the paper's, belongs to one clip and
    lies over its own border.
    """

    rule: ClassVar = Additive()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{|x' - x| <= epsilon}( x^t + step_size * M * sign(grad L) ) ), "
        "M = 1 in the outermost pixels of every frame"
    )
    meaning: ClassVar = "the pixels of a frame's border move by at most epsilon"
    source: ClassVar = "Zajac et al., Adversarial Framing; Lo & Patel, equation 1"

    kind: Literal["af"] = "af"
    epsilon: Distance = Field(1.0, description="largest change of a value, in (0, 1] (255/255)")
    step_size: Distance = Field(70 / 255, description="change of one step, in (0, 1] (70/255)")
