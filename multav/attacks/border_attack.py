"""Adversarial framing, by whatever rule: the border of every frame, laid over the picture. Torch-free."""

from abc import ABC

from pydantic import Field

from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.regions import Border, Init, Pixels


class BorderAttack(FixedStepAttack, ABC):
    """An l-inf attack within the outermost pixels of every frame; the frame keeps its size."""

    width: Pixels = Field(10, description="width of the border, in pixels of the model's input")
    init: Init = Field("clean", description="pixels of the border before the first step")

    @property
    def region(self) -> Border:
        """The border."""
        return Border(self.width, self.init)
