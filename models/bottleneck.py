"""A 3x3x3 convolution between two 1x1x1 ones, with a shortcut around them; in groups it is ResNeXt's."""

from torch import Tensor, nn
from torch.nn import functional

from models.convolutions import Convolutions
from models.shortcuts import Shortcuts


class Bottleneck(nn.Module):
    """conv 1x1x1 - BN - ReLU - conv 3x3x3 - BN - ReLU - conv 1x1x1 - BN - (+ shortcut) - ReLU.

    The middle one has the stride and, where `groups` is more than one, that many groups. `middle` is its width, by
    default `width`; the block gives `expansion * width` channels.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        stride: int,
        *,
        shortcuts: Shortcuts,
        convolutions: Convolutions,
        expansion: int = 4,
        middle: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        middle = middle or width
        self.out_channels = expansion * width
        self.normalised = convolutions.normalised
        self.conv1 = convolutions.point(channels, middle)
        self.bn1 = nn.BatchNorm3d(middle)
        self.conv2 = (
            convolutions.cube(middle, middle, stride=stride)
            if groups == 1
            else nn.Conv3d(middle, middle, 3, stride=stride, padding=1, groups=groups, bias=False)
        )
        self.bn2 = nn.BatchNorm3d(middle)
        self.conv3 = convolutions.point(middle, self.out_channels)
        self.bn3 = nn.BatchNorm3d(self.out_channels)
        self.downsample = shortcuts.make(channels, self.out_channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, expansion * width, T / stride, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = functional.relu(self.normalised(self.conv1, self.bn1, features), inplace=True)
        out = functional.relu(self.normalised(self.conv2, self.bn2, out), inplace=True)
        return functional.relu(self.normalised(self.conv3, self.bn3, out).add_(shortcut), inplace=True)
