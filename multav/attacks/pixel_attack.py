"""Salt and pepper, by whatever rule: scattered pixels of every frame. Torch-free."""

from abc import ABC

from pydantic import Field

from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.regions import Init, Pixels, ScatteredPixels


class PixelAttack(FixedStepAttack, ABC):
    """An l-inf attack on some distinct pixels of every frame, drawn for each frame on its own."""

    pixels: Pixels = Field(100, description="how many pixels of each frame, all different")
    init: Init = Field(
        "clean", description="the pixels before the first step; the authors' additive code starts from black"
    )

    @property
    def region(self) -> ScatteredPixels:
        """The pixels."""
        return ScatteredPixels(self.pixels, self.init)
