"""The built-in dataset: clips of a moving camera, made by a formula, so it has no files. Torch-free."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from multav.datasets.listing import Listing
from multav.datasets.made_video import MadeVideo
from multav.datasets.spec import DatasetSpec
from multav.synthetic.camera_path import MOTIONS

HELD_OUT_SEED: Final = 1_000_003
"""The seed that the shipped model's accuracy was measured with and never trained on (`models.evaluate_demo_model`)."""


@dataclass(frozen=True)
class CameraMotionClip(MadeVideo):
    """Clip `index` of the set with `seed`: the same whichever and how many others are listed."""

    seed: int = HELD_OUT_SEED
    frames: int = 8
    size: int = 56

    @property
    def formula(self) -> str:
        return f"camera-motion seed={self.seed} index={self.index} frames={self.frames} size={self.size}"

    def pictures(self) -> NDArray[np.uint8]:
        """(T, H, W, 3) RGB; about 9 ms at the default size."""
        from multav.synthetic.camera_motion import camera_motion_clips  # only who makes clips pays for it

        made = camera_motion_clips([self.index], seed=self.seed, frames=self.frames, pixels=self.size)
        # (1, 3, T, H, W) -> (T, H, W, 3)
        return np.ascontiguousarray(made.pixels[0].transpose(1, 2, 3, 0))


class Synthetic(DatasetSpec):
    """Clips named as a person would name what the camera does; clip i is of class i % 10, so all are balanced.

    Each clip has a scene of its own and is a group of its own. The classes are those of the shipped model
    camera-motion-r3d18, whose clips are 8 frames of 56x56.
    """

    meaning: ClassVar[str] = "clips of a moving camera, made by a formula: nothing to download"
    needs_root: ClassVar[bool] = False

    kind: Literal["synthetic"] = "synthetic"
    clips: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = Field(2000, description="how many clips")
    size: Annotated[int, Field(strict=True, ge=8, le=512)] = Field(
        56, description="pixels per side, a multiple of 4; a model of another size sees them resized"
    )
    frames: Annotated[int, Field(strict=True, ge=2, le=256)] = Field(8, description="frames per clip")
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = Field(
        HELD_OUT_SEED, description="seed of the set; the shipped model was trained on seed 1"
    )

    @field_validator("size")
    @classmethod
    def _in_fours(cls, size: int) -> int:
        if size % 4:
            raise ValueError("must be a multiple of 4")
        return size

    def listing(self, root: Path | None = None) -> Listing:  # noqa: ARG002
        """The clips, none of which is made before its pictures are asked for."""
        videos = tuple(
            CameraMotionClip(
                index=index,
                name=str(index),
                label=index % len(MOTIONS),
                group=str(index),
                seed=self.seed,
                frames=self.frames,
                size=self.size,
            )
            for index in range(self.clips)
        )
        return Listing(classes=MOTIONS, videos=videos)
