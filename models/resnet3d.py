"""Hara's 3D ResNet: the paper's network, with the state-dict keys of its checkpoints.

    conv1 7x7x7 /(s,2,2) - bn1 - ReLU - max pool 3 /2 - layer1..4 - mean over time and space - fc

Layers 2 to 4 halve time, height and width with their first convolution. Shortcut A (subsample, pad channels
with zeros) has no parameters; shortcut B is a 1x1x1 convolution with batch norm. The original code reads
shortcut A through `.data`, so no gradient passes there; here it passes, unless `cut_shortcut_gradient` asks
for the original behaviour.
"""

from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.folded_batch_norm import normalised, one_after_the_other
from models.halved_conv3d import HalvedConv3d
from models.pooled_stem import pooled_stem
from models.space_to_depth_stem import SpaceToDepthStem

BLOCKS: Final = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Basic blocks per layer, by depth."""

WIDTHS: Final = (64, 128, 256, 512)


class ResNet3D(nn.Module):
    """Logits (B, classes) of normalised clips (B, 3, T, H, W).

    Args:
        classes: size of the last layer.
        depth: a key of `BLOCKS`.
        shortcut: "A" or "B".
        widen_factor: multiplies every width (rounded down).
        conv1_t_size: the stem's kernel size in time, odd.
        conv1_t_stride: the stem's stride in time.
        no_max_pool: leave the pooling after the stem out.
        cut_shortcut_gradient: let no gradient through shortcuts of type A, as the original code does.
        plain: ordinary convolutions only, without the exact faster forms (to compare with).
    """

    def __init__(
        self,
        classes: int,
        *,
        depth: int = 18,
        shortcut: Literal["A", "B"] = "B",
        widen_factor: float = 1.0,
        conv1_t_size: int = 7,
        conv1_t_stride: int = 1,
        no_max_pool: bool = False,
        cut_shortcut_gradient: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"depth={depth} is not one of {sorted(BLOCKS)}")
        if conv1_t_size % 2 == 0:
            raise ValueError(f"conv1_t_size={conv1_t_size} must be odd")
        widths = [int(width * widen_factor) for width in WIDTHS]
        if min(widths) < 1:
            raise ValueError(f"widen_factor={widen_factor} leaves no channel")
        self.normalised = one_after_the_other if plain else normalised
        self.conv1: nn.Conv3d = (
            nn.Conv3d(
                3,
                widths[0],
                kernel_size=(conv1_t_size, 7, 7),
                stride=(conv1_t_stride, 2, 2),
                padding=(conv1_t_size // 2, 3, 3),
                bias=False,
            )
            if plain
            else SpaceToDepthStem(3, widths[0], kernel_time=conv1_t_size, stride_time=conv1_t_stride)
        )
        self.bn1 = nn.BatchNorm3d(widths[0])
        self.maxpool = nn.Identity() if no_max_pool else nn.MaxPool3d(kernel_size=3, stride=2, padding=1)
        channels = widths[0]
        for index, (width, blocks) in enumerate(zip(widths, BLOCKS[depth], strict=True)):
            layer = []
            for block in range(blocks):
                stride = 2 if index > 0 and block == 0 else 1
                layer.append(
                    BasicBlock(channels, width, stride, shortcut, cut_shortcut_gradient, plain=plain)
                )
                channels = width
            self.add_module(f"layer{index + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) normalised -> (B, classes)."""
        features = self._stem(clips)
        for index in range(1, 5):
            features = self.get_submodule(f"layer{index}")(features)
        # (B, C, T, H, W) -> (B, C)
        logits: Tensor = self.fc(features.mean(dim=(2, 3, 4)))
        return logits

    def _stem(self, clips: Tensor) -> Tensor:
        if isinstance(self.conv1, SpaceToDepthStem):
            return pooled_stem(self.conv1, self.bn1, self.maxpool, clips)
        rectified: Tensor = self.maxpool(functional.relu(self.bn1(self.conv1(clips)), inplace=True))
        return rectified


class BasicBlock(nn.Module):
    """conv 3x3x3 - BN - ReLU - conv 3x3x3 - BN - (+ shortcut) - ReLU."""

    def __init__(
        self, channels: int, width: int, stride: int, shortcut: str, cut_gradient: bool, *, plain: bool
    ) -> None:
        super().__init__()
        convolution = nn.Conv3d if plain else HalvedConv3d
        self.normalised = one_after_the_other if plain else normalised
        self.conv1 = convolution(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = convolution(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != width:
            self.downsample = (
                ZeroPadShortcut(width, stride, cut_gradient)
                if shortcut == "A"
                else nn.Sequential(
                    nn.Conv3d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm3d(width)
                )
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, width, T / stride, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = functional.relu(self.normalised(self.conv1, self.bn1, features), inplace=True)
        return functional.relu(self.normalised(self.conv2, self.bn2, out).add_(shortcut), inplace=True)


class ZeroPadShortcut(nn.Module):
    """Shortcut A: every `stride`-th value, new channels zero; no parameters."""

    def __init__(self, width: int, stride: int, cut_gradient: bool) -> None:
        super().__init__()
        self.width, self.stride, self.cut_gradient = width, stride, cut_gradient

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, width, T / stride, H / stride, W / stride)."""
        step = self.stride
        kept = features[:, :, ::step, ::step, ::step]
        if self.cut_gradient:
            kept = kept.detach()
        missing = self.width - kept.shape[1]
        return torch.cat([kept, kept.new_zeros(kept.shape[0], missing, *kept.shape[2:])], dim=1)
