"""Two 3x3x3 convolutions with a shortcut around them."""

from torch import Tensor, nn
from torch.nn import functional

from models.convolutions import Convolutions
from models.shortcuts import Shortcuts


class BasicBlock(nn.Module):
    """conv 3x3x3 - BN - ReLU - conv 3x3x3 - BN - (+ shortcut) - ReLU."""

    def __init__(
        self, channels: int, width: int, stride: int, *, shortcuts: Shortcuts, convolutions: Convolutions
    ) -> None:
        super().__init__()
        self.out_channels = width
        self.normalised = convolutions.normalised
        self.conv1 = convolutions.cube(channels, width, stride=stride)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = convolutions.cube(width, width)
        self.bn2 = nn.BatchNorm3d(width)
        self.downsample = shortcuts.make(channels, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, width, T / stride, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = functional.relu(self.normalised(self.conv1, self.bn1, features), inplace=True)
        return functional.relu(self.normalised(self.conv2, self.bn2, out).add_(shortcut), inplace=True)
