"""Where an attack may act, and what the pixels there are before it begins."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

# Named here only: the modules of all three load torch.
Tensor = Any
Draws = Any  # multav.randomness.Draws
Objective = Any  # multav.gradient_loop.Objective


class Region(Protocol):
    """A part of every clip of a batch."""

    @property
    def name(self) -> str:
        """The shape of the part."""
        ...

    def place(self, clips: Tensor, draws: Draws, objective: Objective) -> Tensor | None:
        """Bool (B, 1, T, H, W), true where the attack may act in `clips` (B, 3, T, H, W); None means everywhere.

        A random place comes from `draws`, a searched one asks `objective`.
        """
        ...

    def origin(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        """The centre of the bound: `clips` themselves, or a copy whose pixels under `mask` are replaced."""
        ...


@dataclass(frozen=True)
class WholeClip:
    """Everywhere, from the clean pixels."""

    name: Literal["whole-clip"] = "whole-clip"

    def place(self, clips: Tensor, draws: Draws, objective: Objective) -> None:
        """None: no value is held back."""

    def origin(self, clips: Tensor, mask: Tensor | None) -> Tensor:  # noqa: ARG002 - others replace pixels
        """The clean clips."""
        return clips
