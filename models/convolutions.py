"""Which convolutions a network is made of: the exact faster forms, or ordinary ones to compare with."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from models.folded_batch_norm import normalised, one_after_the_other
from models.halved_conv3d import HalvedConv3d
from models.space_to_depth_stem import SpaceToDepthStem


@dataclass(frozen=True)
class Convolutions:
    """Bias-free 3-D convolutions with half their kernel as padding. `plain` asks for ordinary ones throughout."""

    plain: bool = False

    @property
    def normalised(self) -> Callable[[nn.Conv3d, nn.BatchNorm3d, Tensor], Tensor]:
        """Convolution and batch norm, in one piece where that is quicker."""
        return one_after_the_other if self.plain else normalised

    def make(
        self,
        channels: int,
        width: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
    ) -> nn.Conv3d:
        """An odd kernel (time, height, width) and its stride."""
        # Cutting a clip in two costs copies, which a product per pixel does not win back.
        kind = nn.Conv3d if self.plain or kernel == (1, 1, 1) else HalvedConv3d
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        return kind(channels, width, kernel, stride=stride, padding=padding, bias=False)

    def cube(self, channels: int, width: int, *, stride: int = 1) -> nn.Conv3d:
        """3x3x3."""
        return self.make(channels, width, (3, 3, 3), (stride, stride, stride))

    def point(self, channels: int, width: int) -> nn.Conv3d:
        """1x1x1."""
        return self.make(channels, width, (1, 1, 1))

    def stem(self, width: int, *, kernel_time: int, stride_time: int = 1) -> nn.Conv3d:
        """The first one, 7x7 in space with stride 2, from three colours."""
        if not self.plain:
            return SpaceToDepthStem(3, width, kernel_time=kernel_time, stride_time=stride_time)
        return self.make(3, width, (kernel_time, 7, 7), (stride_time, 2, 2))
