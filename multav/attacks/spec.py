"""What every attack specification holds. Placeholder of the thin path."""

from typing import Any, ClassVar, Literal
from pydantic import BaseModel, ConfigDict, Field


class AttackSpec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: str
    epsilon: float
    step_size: float
    steps: int = Field(5, ge=1, le=10000)
    random_start: bool = False
    targeted: bool = False
