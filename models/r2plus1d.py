"""Hara's R(2+1)D: the 3D ResNet with every convolution, the stem's too, in a spatial and a temporal part.

    conv1_s 1x7x7 /(1,2,2) - bn1_s - ReLU - conv1_t 7x1x1 /(s,1,1) - bn1_t - ReLU - max pool 3 /2 - four stages

Unlike torchvision's `r2plus1d_18`, which has another stem, no pool, other keys, and other widths between the parts.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from models.argument_checks import class_count, flag, scaled_widths
from models.convolutions import Convolutions
from models.denoising import Denoising
from models.factored_blocks import FactoredBasicBlock, FactoredBottleneck
from models.factored_convolution import factored_width
from models.hara_stem import HaraStem
from models.residual_network import BlockMaker, ResidualNetwork
from models.shortcuts import Shortcuts
from models.stages import BASIC_DEPTHS, BLOCKS, WIDTHS, checked_depth


class R2Plus1D(ResidualNetwork):
    """Logits (B, classes) of normalised clips (B, 3, T, H, W). Arguments and refusals are `ResNet3D`'s."""

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
        denoise: str | None = None,
        denoise_options: Mapping[str, Any] | None = None,
        plain: bool = False,
    ) -> None:
        widths = scaled_widths(WIDTHS, widen_factor)
        convolutions = Convolutions(flag("plain", plain))
        stem = HaraStem.checked(conv1_t_size, conv1_t_stride, no_max_pool)
        kind: type[FactoredBasicBlock | FactoredBottleneck] = (
            FactoredBasicBlock if checked_depth(depth) in BASIC_DEPTHS else FactoredBottleneck
        )
        make_block: BlockMaker = partial(
            kind, shortcuts=Shortcuts.checked(shortcut, cut_shortcut_gradient), convolutions=convolutions
        )
        denoising = Denoising.checked(denoise, denoise_options)
        number = class_count(classes)
        super().__init__()
        self.normalised = convolutions.normalised
        between = factored_width(3, widths[0], size=7, time=stem.time_kernel)
        self.conv1_s = convolutions.stem(between, kernel_time=1)
        self.bn1_s = nn.BatchNorm3d(between)
        self.conv1_t = convolutions.make(
            between, widths[0], (stem.time_kernel, 1, 1), (stem.time_stride, 1, 1)
        )
        self.bn1_t = nn.BatchNorm3d(widths[0])
        self.maxpool = stem.pool()
        self.add_stages(
            number,
            channels=widths[0],
            widths=widths,
            blocks=BLOCKS[depth],
            makers=[make_block] * 4,
            time_strides=stem.time_strides,
            denoising=denoising,
        )

    def _stem(self, clips: Tensor) -> Tensor:
        out = functional.relu(self.normalised(self.conv1_s, self.bn1_s, clips), inplace=True)
        out = functional.relu(self.normalised(self.conv1_t, self.bn1_t, out), inplace=True)
        pooled: Tensor = self.maxpool(out)
        return pooled
