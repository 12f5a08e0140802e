"""APGD under a ratio bound: stronger than MultAV-linf at the same epsilon."""

from typing import ClassVar, Literal

from pydantic import Field

from multav.attacks.adaptive_attack import AdaptiveAttack
from multav.attacks.rules import Multiplicative, Ratio


class ApgdRatio(AdaptiveAttack):
    """APGD on v = log(x'/x), |v| <= log(epsilon): the threat model of MultAV-linf, searched harder."""

    rule: ClassVar = Multiplicative()
    equation: ClassVar = (
        "v^{t+1} = Clip_{|v| <= log epsilon}( v^t + (1 - momentum)(z - v^t) + momentum (v^t - v^{t-1}) ), "
        "z = Clip(v^t + step * sign(grad L)), x = x^0 * exp(v)"
    )
    meaning: ClassVar = (
        "every pixel is multiplied by a factor of at most epsilon, or divided by it, at its own pace"
    )
    source: ClassVar = "Croce & Hein, Reliable Evaluation of Adversarial Robustness, in log space"

    kind: Literal["apgd-ratio"] = "apgd-ratio"
    epsilon: Ratio = Field(1.04, description="ratio bound, above 1 (1.04 lets a value change by 4 %)")
