"""What a video classifier expects of its clips: how many frames, how far apart, what size. Torch-free."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class InputGeometry(BaseModel):
    """How source frames become the clip that a model sees.

    A clip is `frames` pictures, `stride` source frames apart. Each picture is resized (bilinear, antialiased)
    so that its short side is `short_side`, then the centre `height` x `width` pixels are kept. Pixels are RGB
    in [0, 1]; normalisation (`mean`, `std`, per channel) belongs to the model and happens after the attack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(ge=1, le=1024, description="T, pictures per clip")
    stride: int = Field(ge=1, le=256, description="source frames from one picture of a clip to the next")
    short_side: int = Field(ge=1, le=4096, description="short side after the resize, pixels")
    height: int = Field(ge=1, le=4096, description="height of the centre crop, pixels")
    width: int = Field(ge=1, le=4096, description="width of the centre crop, pixels")
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if max(self.height, self.width) > self.short_side:
            raise ValueError(
                f"a crop of {self.height}x{self.width} does not fit into a picture whose short side is "
                f"{self.short_side}: make short_side at least {max(self.height, self.width)}"
            )
        if min(self.std) <= 0:
            raise ValueError("std must be positive in every channel")
        return self

    def same_clips(self, other: "InputGeometry") -> bool:
        """Whether both see the same clips of a video; what they do with the pixels is their affair."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("frames", "stride", "short_side", "height", "width")
        )

    @property
    def span(self) -> int:
        """Source frames that one window covers: every phase of the stride, so `frames * stride`."""
        return self.frames * self.stride
