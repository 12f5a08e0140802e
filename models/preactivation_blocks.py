"""Residual blocks whose batch norm and ReLU come before each convolution; what they add to stays as it is.

In eval mode a norm that follows a convolution is still done by it (`conv1` with `bn2`, `conv2` with `bn3`).
"""

from torch import Tensor, nn
from torch.nn import functional

from models.convolutions import Convolutions
from models.shortcuts import Shortcuts


class PreActivationBasicBlock(nn.Module):
    """BN - ReLU - conv 3x3x3 - BN - ReLU - conv 3x3x3 - (+ shortcut)."""

    def __init__(
        self, channels: int, width: int, stride: int, *, shortcuts: Shortcuts, convolutions: Convolutions
    ) -> None:
        super().__init__()
        self.out_channels = width
        self.normalised = convolutions.normalised
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv1 = convolutions.cube(channels, width, stride=stride)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv2 = convolutions.cube(width, width)
        self.downsample = shortcuts.make(channels, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, width, T / stride, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = functional.relu(self.bn1(features), inplace=True)
        out = functional.relu(self.normalised(self.conv1, self.bn2, out), inplace=True)
        added: Tensor = self.conv2(out) + shortcut
        return added


class PreActivationBottleneck(nn.Module):
    """BN - ReLU - conv 1x1x1 - BN - ReLU - conv 3x3x3 - BN - ReLU - conv 1x1x1 - (+ shortcut)."""

    def __init__(
        self, channels: int, width: int, stride: int, *, shortcuts: Shortcuts, convolutions: Convolutions
    ) -> None:
        super().__init__()
        self.out_channels = 4 * width
        self.normalised = convolutions.normalised
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv1 = convolutions.point(channels, width)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv2 = convolutions.cube(width, width, stride=stride)
        self.bn3 = nn.BatchNorm3d(width)
        self.conv3 = convolutions.point(width, self.out_channels)
        self.downsample = shortcuts.make(channels, self.out_channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, 4 * width, T / stride, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = functional.relu(self.bn1(features), inplace=True)
        out = functional.relu(self.normalised(self.conv1, self.bn2, out), inplace=True)
        out = functional.relu(self.normalised(self.conv2, self.bn3, out), inplace=True)
        added: Tensor = self.conv3(out) + shortcut
        return added
