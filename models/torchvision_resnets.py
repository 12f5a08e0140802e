"""The 18-layer video networks of Tran et al. (2018) as torchvision has them: its keys, shapes and start, our code.

    stem 3x7x7 /(1,2,2) - BN - ReLU, no pool - layer1..4 of two basic blocks - mean over time and space - fc

- `r3d_18`: 3x3x3 convolutions.
- `mc3_18`: 3x3x3 in layer 1, 1x3x3 in the others, which keep the number of frames.
- `r2plus1d_18`: 1x3x3 and 3x1x1 in turn; its stem is 1x7x7 to 45 channels, then 3x1x1.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal

from torch import Tensor, nn
from torch.nn import functional

from models.argument_checks import class_count, flag
from models.convolutions import Convolutions
from models.denoising import Denoising
from models.factored_convolution import factored_width
from models.folded_sequence import FoldedSequence
from models.residual_network import BlockMaker, ResidualNetwork
from models.shortcuts import projection
from models.stages import BLOCKS, WIDTHS

Kind = Literal["whole", "spatial", "factored"]
"""Of a convolution: 3x3x3; 1x3x3; 1x3x3 then 3x1x1."""

_STEM_BETWEEN: Final = 45


class TorchvisionResNet(ResidualNetwork):
    """Logits (B, classes) of normalised clips (B, 3, T, H, W); a subclass says which convolutions.

    Args:
        classes: size of the last layer.
        denoise, denoise_options, plain: as `ResNet3D`'s. Refuses as it does.
    """

    kinds: tuple[Kind, ...]
    """Of the convolutions, per stage."""

    def __init__(
        self,
        classes: int,
        *,
        denoise: str | None = None,
        denoise_options: Mapping[str, Any] | None = None,
        plain: bool = False,
    ) -> None:
        convolutions = Convolutions(flag("plain", plain))
        denoising = Denoising.checked(denoise, denoise_options)
        number = class_count(classes)
        super().__init__()
        self.stem = self._make_stem(convolutions)
        strides = [1]
        for kind in self.kinds[1:]:
            strides.append(strides[-1] * (1 if kind == "spatial" else 2))
        makers: list[BlockMaker] = [
            partial(TorchvisionBlock, kind=kind, convolutions=convolutions) for kind in self.kinds
        ]
        self.add_stages(
            number,
            channels=WIDTHS[0],
            widths=WIDTHS,
            blocks=BLOCKS[18],
            makers=makers,
            time_strides=strides,
            denoising=denoising,
        )
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def _make_stem(self, convolutions: Convolutions) -> FoldedSequence:
        return FoldedSequence(
            convolutions.stem(WIDTHS[0], kernel_time=3),
            nn.BatchNorm3d(WIDTHS[0]),
            nn.ReLU(inplace=True),
            convolutions=convolutions,
        )

    def _stem(self, clips: Tensor) -> Tensor:
        features: Tensor = self.stem(clips)
        return features


class R3D18(TorchvisionResNet):
    """torchvision's `r3d_18`."""

    kinds = ("whole", "whole", "whole", "whole")


class MC318(TorchvisionResNet):
    """torchvision's `mc3_18`."""

    kinds = ("whole", "spatial", "spatial", "spatial")


class R2Plus1D18(TorchvisionResNet):
    """torchvision's `r2plus1d_18`."""

    kinds = ("factored", "factored", "factored", "factored")

    def _make_stem(self, convolutions: Convolutions) -> FoldedSequence:
        return FoldedSequence(
            convolutions.stem(_STEM_BETWEEN, kernel_time=1),
            nn.BatchNorm3d(_STEM_BETWEEN),
            nn.ReLU(inplace=True),
            convolutions.make(_STEM_BETWEEN, WIDTHS[0], (3, 1, 1)),
            nn.BatchNorm3d(WIDTHS[0]),
            nn.ReLU(inplace=True),
            convolutions=convolutions,
        )


class TorchvisionBlock(nn.Module):
    """conv - BN - ReLU - conv - BN - (+ shortcut B) - ReLU, under torchvision's keys `conv1.0.*`, `conv1.1.*`, ..."""

    def __init__(
        self, channels: int, width: int, stride: int, *, kind: Kind, convolutions: Convolutions
    ) -> None:
        super().__init__()
        self.out_channels = width
        # The same between the parts of both convolutions, although the second has other channels.
        between = factored_width(channels, width)
        self.conv1 = FoldedSequence(
            _convolution(kind, channels, between, width, stride, convolutions),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
            convolutions=convolutions,
        )
        self.conv2 = FoldedSequence(
            _convolution(kind, width, between, width, 1, convolutions),
            nn.BatchNorm3d(width),
            convolutions=convolutions,
        )
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != width:
            time_stride = 1 if kind == "spatial" else stride
            self.downsample = projection(channels, width, (time_stride, stride, stride))

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, width, T', H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        return functional.relu(self.conv2(self.conv1(features)).add_(shortcut), inplace=True)


def _convolution(
    kind: Kind, channels: int, between: int, width: int, stride: int, convolutions: Convolutions
) -> nn.Module:
    if kind == "whole":
        return convolutions.cube(channels, width, stride=stride)
    if kind == "spatial":
        return convolutions.make(channels, width, (1, 3, 3), (1, stride, stride))
    return FoldedSequence(
        convolutions.make(channels, between, (1, 3, 3), (1, stride, stride)),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        convolutions.make(between, width, (3, 1, 1), (stride, 1, 1)),
        convolutions=convolutions,
    )
