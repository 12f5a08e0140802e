"""Rectangular occlusion, by whatever rule: a rectangle in every frame. Torch-free."""

from abc import ABC
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.regions import Init, Pixels, Placement, Rectangle

Coordinate = Annotated[int, Field(strict=True, ge=0, le=2**20)]


class RectangleAttack(FixedStepAttack, ABC):
    """An l-inf attack within one rectangle per frame; see `multav.attacks.regions.Rectangle`."""

    size: Pixels | tuple[Pixels, Pixels] = Field(
        30, description="side of the rectangle, or its height and width, in pixels of the model's input"
    )
    placement: Placement = Field(
        "random",
        description="random: drawn for each frame; fixed: at `position`; gradient, exhaustive: the two searches of "
        "the ROA paper",
    )
    position: tuple[Coordinate, Coordinate] | None = Field(
        None, description="top and left of the fixed rectangle; null: the middle of the frame"
    )
    stride: Pixels = Field(10, description="grid of the two searches, in pixels")
    candidates: Annotated[int, Field(strict=True, ge=1, le=10_000)] = Field(
        5, description="how many of the best places the gradient search tries"
    )
    init: Init = Field(
        "clean",
        description="pixels of the rectangle before the first step; the authors' ROA starts from grey",
    )

    @property
    def region(self) -> Rectangle:
        """The rectangle."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return Rectangle(
            height, width, self.placement, self.position, self.stride, self.candidates, init=self.init
        )

    @model_validator(mode="before")
    @classmethod
    def _lists_are_pairs(cls, body: Any) -> Any:
        """JSON has no tuples: a list of two numbers is a pair."""
        if not isinstance(body, dict):
            return body
        pairs = {name: tuple(value) for name, value in body.items() if isinstance(value, list)}
        return body | pairs

    @model_validator(mode="after")
    def _position_is_used(self) -> Self:
        if self.position is not None and self.placement != "fixed":
            raise ValueError(f'position belongs to placement "fixed", not {self.placement!r}')
        for name, searches in (("stride", ("gradient", "exhaustive")), ("candidates", ("gradient",))):
            default = type(self).model_fields[name].default
            if getattr(self, name) != default and self.placement not in searches:
                wanted = " or ".join(f'"{search}"' for search in searches)
                raise ValueError(f"{name} belongs to placement {wanted}, not {self.placement!r}")
        return self
