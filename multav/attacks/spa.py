"""SPA: salt and pepper, the additive twin of MultAV-SPA."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.pixel_attack import PixelAttack
from multav.attacks.rules import Additive, Distance


class Spa(PixelAttack):
    """Equation 1 on scattered pixels of every frame. With the paper's epsilon of 1 only the range [0, 1] limits it.

    The authors' code sets the pixels to black first (`init` "black") and may draw one twice; here all differ.
    """

    rule: ClassVar = Additive()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{|x' - x| <= epsilon}( x^t + step_size * M * sign(grad L) ) ), "
        "M = 1 on some pixels of every frame"
    )
    meaning: ClassVar = "some pixels of every frame move by at most epsilon"
    source: ClassVar = "Lo & Patel, Overcomplete Representations Against Adversarial Videos; equation 1"

    kind: Literal["spa"] = "spa"
    epsilon: Distance = Field(1.0, description="largest change of a value, in (0, 1] (255/255)")
    step_size: Distance = Field(70 / 255, description="change of one step, in (0, 1] (70/255)")
