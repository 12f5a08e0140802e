"""MultAV-SPA: salt and pepper under a ratio bound."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.pixel_attack import PixelAttack
from multav.attacks.rules import Multiplicative, Ratio


class MultavSpa(PixelAttack):
    """Equation 3 on scattered pixels of every frame.

    Black pixels cannot be moved by multiplication, so that `init` "black" leaves them black.
    """

    rule: ClassVar = Multiplicative()
    equation: ClassVar = (
        "x^{t+1} = Clip_[0,1]( Clip_{max(x'/x, x/x') <= epsilon}( x^t * step_size^{M * sign(grad L)} ) ), "
        "M = 1 on some pixels of every frame"
    )
    meaning: ClassVar = "some pixels of every frame are multiplied or divided by at most epsilon"
    source: ClassVar = "Lo & Patel, Multiplicative Adversarial Videos, equation 3 in the region of SPA"

    kind: Literal["multav-spa"] = "multav-spa"
    epsilon: Ratio = Field(3.55, description="ratio bound, above 1")
    step_size: Ratio = Field(1.7, description="factor of one step, above 1; alpha in the paper")
