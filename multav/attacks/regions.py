"""Where an attack may act. A region gives a boolean mask (B, 1, T, H, W), or None for the whole clip."""

from dataclasses import dataclass
from typing import Any, Literal

Tensor = Any


@dataclass(frozen=True)
class WholeClip:
    """Everywhere."""

    name: Literal["whole-clip"] = "whole-clip"

    def mask(self, clip: Tensor) -> Tensor | None:  # noqa: ARG002 - other regions look at the clip
        """None: no value is held back."""
        return None
