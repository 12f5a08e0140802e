"""Hara's residual blocks with 3x3x3 convolutions in two parts, `_s` in space and `_t` in time, each normalised."""

from torch import Tensor, nn
from torch.nn import functional

from models.convolutions import Convolutions
from models.factored_convolution import factored_width
from models.shortcuts import Shortcuts


class FactoredBasicBlock(nn.Module):
    """conv 1x3x3 - BN - ReLU - conv 3x1x1 - BN - ReLU, the same without the last ReLU, (+ shortcut) - ReLU."""

    def __init__(
        self, channels: int, width: int, stride: int, *, shortcuts: Shortcuts, convolutions: Convolutions
    ) -> None:
        super().__init__()
        self.out_channels = width
        self.normalised = convolutions.normalised
        between = factored_width(channels, width)
        self.conv1_s = convolutions.make(channels, between, (1, 3, 3), (1, stride, stride))
        self.bn1_s = nn.BatchNorm3d(between)
        self.conv1_t = convolutions.make(between, width, (3, 1, 1), (stride, 1, 1))
        self.bn1_t = nn.BatchNorm3d(width)
        between = factored_width(width, width)
        self.conv2_s = convolutions.make(width, between, (1, 3, 3))
        self.bn2_s = nn.BatchNorm3d(between)
        self.conv2_t = convolutions.make(between, width, (3, 1, 1))
        self.bn2_t = nn.BatchNorm3d(width)
        self.downsample = shortcuts.make(channels, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, width, T / stride, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = functional.relu(self.normalised(self.conv1_s, self.bn1_s, features), inplace=True)
        out = functional.relu(self.normalised(self.conv1_t, self.bn1_t, out), inplace=True)
        out = functional.relu(self.normalised(self.conv2_s, self.bn2_s, out), inplace=True)
        return functional.relu(self.normalised(self.conv2_t, self.bn2_t, out).add_(shortcut), inplace=True)


class FactoredBottleneck(nn.Module):
    """conv 1x1x1, conv 1x3x3, conv 3x1x1, each with BN and ReLU - conv 1x1x1 - BN - (+ shortcut) - ReLU."""

    def __init__(
        self, channels: int, width: int, stride: int, *, shortcuts: Shortcuts, convolutions: Convolutions
    ) -> None:
        super().__init__()
        self.out_channels = 4 * width
        self.normalised = convolutions.normalised
        self.conv1 = convolutions.point(channels, width)
        self.bn1 = nn.BatchNorm3d(width)
        between = factored_width(width, width)
        self.conv2_s = convolutions.make(width, between, (1, 3, 3), (1, stride, stride))
        self.bn2_s = nn.BatchNorm3d(between)
        self.conv2_t = convolutions.make(between, width, (3, 1, 1), (stride, 1, 1))
        self.bn2_t = nn.BatchNorm3d(width)
        self.conv3 = convolutions.point(width, self.out_channels)
        self.bn3 = nn.BatchNorm3d(self.out_channels)
        self.downsample = shortcuts.make(channels, self.out_channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, 4 * width, T / stride, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = functional.relu(self.normalised(self.conv1, self.bn1, features), inplace=True)
        out = functional.relu(self.normalised(self.conv2_s, self.bn2_s, out), inplace=True)
        out = functional.relu(self.normalised(self.conv2_t, self.bn2_t, out), inplace=True)
        return functional.relu(self.normalised(self.conv3, self.bn3, out).add_(shortcut), inplace=True)
