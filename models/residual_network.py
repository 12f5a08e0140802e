"""What all residual networks here share: four stages of blocks, denoising after each if asked for, mean, last layer.

stem - layer1 [- denoise_res2] - layer2 [- denoise_res3] - layer3 [...] - layer4 [...] - mean over T, H, W - fc
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from models.denoising import Denoising


class ResidualBlock(Protocol):
    """A block, and how many channels it gives."""

    out_channels: int


class BlockMaker(Protocol):
    """Makes the block from `channels` to `width` (times its expansion) with that stride in time and space."""

    def __call__(self, channels: int, width: int, stride: int) -> Any:
        """A module that is a `ResidualBlock`."""


class ResidualNetwork(nn.Module):
    """Logits (B, classes) of normalised clips (B, 3, T, H, W). A subclass makes its stem, then calls `add_stages`."""

    def add_stages(
        self,
        classes: int,
        *,
        channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        makers: Sequence[BlockMaker],
        time_strides: list[int],
        denoising: Denoising | None,
    ) -> None:
        """Make everything behind the stem, and start all convolutions as He et al. (2015) do.

        Args:
            classes: size of the last layer.
            channels: that the stem gives.
            widths: of the stages; the second to the fourth have stride 2.
            blocks: how many, per stage.
            makers: of the blocks, per stage.
            time_strides: how many frames of the clip one step in time is behind each stage.
            denoising: the blocks after the stages, if any.
        """
        given = []
        for index, (width, number, make) in enumerate(zip(widths, blocks, makers, strict=True)):
            stage = []
            for place in range(number):
                block = make(channels, width, 2 if index > 0 and place == 0 else 1)
                channels = block.out_channels
                stage.append(block)
            self.add_module(f"layer{index + 1}", nn.Sequential(*stage))
            given.append(channels)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # Last, since they start in their own way, and the rest as it would without them.
        self.denoises = denoising is not None
        if denoising is not None:
            for index, denoise in enumerate(denoising.blocks(given, time_strides)):
                self.add_module(f"denoise_res{index + 2}", denoise)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) normalised -> (B, classes)."""
        features = self._stem(clips)
        for index in range(4):
            features = self.get_submodule(f"layer{index + 1}")(features)
            if self.denoises:
                features = self.get_submodule(f"denoise_res{index + 2}")(features)
        # (B, C, T, H, W) -> (B, C)
        logits: Tensor = self.fc(features.mean(dim=(2, 3, 4)))
        return logits

    def _stem(self, clips: Tensor) -> Tensor:
        raise NotImplementedError
