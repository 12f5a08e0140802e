"""APGD under an l-inf bound: the additive twin of APGD-ratio."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.adaptive_attack import AdaptiveAttack
from multav.attacks.rules import Additive, Distance


class ApgdLinf(AdaptiveAttack):
    """APGD on v = x' - x, |v| <= epsilon: the threat model of PGD-linf, searched harder."""

    rule: ClassVar = Additive()
    equation: ClassVar = (
        "v^{t+1} = Clip_{|v| <= epsilon}( v^t + (1 - momentum)(z - v^t) + momentum (v^t - v^{t-1}) ), "
        "z = Clip(v^t + step * sign(grad L)), x = x^0 + v"
    )
    meaning: ClassVar = "every pixel moves by at most epsilon, at its own pace"
    source: ClassVar = "Croce & Hein, Reliable Evaluation of Adversarial Robustness"

    kind: Literal["apgd-linf"] = "apgd-linf"
    epsilon: Distance = Field(4 / 255, description="largest change of a value, in (0, 1] (4/255)")
