"""The head of Hara's networks: conv1, bn1, ReLU, max pool, and what a card may say about them."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from models.architecture_arguments import stem_kernel, stem_stride
from models.argument_checks import flag
from models.convolutions import Convolutions


@dataclass(frozen=True)
class HaraStem:
    """Its settings. `time_kernel` is odd; the pool, where there is one, halves time as well."""

    time_kernel: int
    time_stride: int
    max_pool: bool

    @classmethod
    def checked(cls, conv1_t_size: Any, conv1_t_stride: Any, no_max_pool: Any) -> "HaraStem":
        """From a builder's arguments."""
        return cls(
            stem_kernel(conv1_t_size), stem_stride(conv1_t_stride), not flag("no_max_pool", no_max_pool)
        )

    @property
    def time_strides(self) -> list[int]:
        """Frames of the clip that one step in time is, behind each of the four stages."""
        first = self.time_stride * (2 if self.max_pool else 1)
        return [first, 2 * first, 4 * first, 8 * first]

    def convolution(self, width: int, convolutions: Convolutions) -> nn.Conv3d:
        """`conv1`, kernel (time, 7, 7), stride (time, 2, 2)."""
        return convolutions.stem(width, kernel_time=self.time_kernel, stride_time=self.time_stride)

    def pool(self) -> nn.Module:
        """`maxpool`."""
        return nn.MaxPool3d(kernel_size=3, stride=2, padding=1) if self.max_pool else nn.Identity()
