from typing import Any, Literal
from pydantic import Field
from multav.attacks.spec import AttackSpec


class PgdLinf(AttackSpec):
    kind: Literal["pgd-linf"] = "pgd-linf"
    epsilon: float = Field(4 / 255, gt=0)
    step_size: float = Field(1 / 255, gt=0)

    def step(self, clip: Any, direction: Any) -> Any:
        return clip + self.step_size * direction.sign()

    def project(self, adversarial: Any, clip: Any) -> Any:
        return adversarial.clamp(clip - self.epsilon, clip + self.epsilon)
