"""MultAV-ROA: rectangular occlusion under a ratio bound."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from multav.attacks.rectangle_attack import RectangleAttack
from multav.attacks.rules import Multiplicative, Ratio


class MultavRoa(RectangleAttack):
    """Equation 3 within one rectangle per frame.

    The paper prints epsilon 1.7 and step size 3.55, the other way round than for its framing and its pixels. As
    printed every step goes from edge to edge of the bound; the likely reading (`settings["swapped"]`) is 3.55 and
    1.7. The default is what is printed.
    """

    rule: ClassVar = Multiplicative()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{max(x'/x, x/x') <= epsilon}( x^t * step_size^{M * sign(grad L)} ) ), "
        "M = 1 in one rectangle per frame"
    )
    meaning: ClassVar = (
        "the pixels of a rectangle in every frame are multiplied or divided by at most epsilon"
    )
    source: ClassVar = (
        "Lo & Patel, Multiplicative Adversarial Videos, equation 3 in the region of ROA (Wu et al.)"
    )
    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "printed": {"epsilon": 1.7, "step_size": 3.55},
        "swapped": {"epsilon": 3.55, "step_size": 1.7},
    }

    kind: Literal["multav-roa"] = "multav-roa"
    epsilon: Ratio = Field(1.7, description="ratio bound, above 1")
    step_size: Ratio = Field(3.55, description="factor of one step, above 1; alpha in the paper")
