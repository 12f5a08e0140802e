"""Names of the architectures that `models.architectures` builds, for whoever does not load torch."""

from typing import Final

ARCHITECTURE_NAMES: Final[tuple[str, ...]] = (
    "resnet3d",
    "wide-resnet3d",
    "resnext3d",
    "preact-resnet3d",
    "r2plus1d",
    "r3d_18",
    "mc3_18",
    "r2plus1d_18",
)
