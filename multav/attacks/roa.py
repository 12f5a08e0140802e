"""ROA: rectangular occlusion, the additive twin of MultAV-ROA."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.rectangle_attack import RectangleAttack
from multav.attacks.rules import Additive, Distance


class Roa(RectangleAttack):
    """Equation 1 within one rectangle per frame. With the paper's epsilon of 1 only the range [0, 1] limits it.

    The authors' code fills the rectangle with grey first (`init` "grey") and never draws the last row and column
    of places; here every place is drawn alike.
    """

    rule: ClassVar = Additive()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{|x' - x| <= epsilon}( x^t + step_size * M * sign(grad L) ) ), "
        "M = 1 in one rectangle per frame"
    )
    meaning: ClassVar = "the pixels of a rectangle in every frame move by at most epsilon"
    source: ClassVar = "Wu et al., Defending Against Physically Realizable Attacks; Lo & Patel, equation 1"

    kind: Literal["roa"] = "roa"
    epsilon: Distance = Field(1.0, description="largest change of a value, in (0, 1] (255/255)")
    step_size: Distance = Field(70 / 255, description="change of one step, in (0, 1] (70/255)")
