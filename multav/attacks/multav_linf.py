from typing import Any, Literal
from pydantic import Field
from multav.attacks.spec import AttackSpec


class MultavLinf(AttackSpec):
    kind: Literal["multav-linf"] = "multav-linf"
    epsilon: float = Field(1.04, gt=1)
    step_size: float = Field(1.01, gt=1)

    def step(self, clip: Any, direction: Any) -> Any:
        return clip * self.step_size ** direction.sign()

    def project(self, adversarial: Any, clip: Any) -> Any:
        return adversarial.clamp(clip / self.epsilon, clip * self.epsilon)
