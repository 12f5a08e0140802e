"""Hara's pre-activation 3D ResNet: batch norm and ReLU before each convolution of a block.

The stem keeps its own batch norm, ReLU and pool, and nothing normalises the last sum, as in the original code. The
released one (2018) has depth 200 and shortcut B.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from models.argument_checks import class_count, flag, scaled_widths
from models.convolutions import Convolutions
from models.denoising import Denoising
from models.hara_network import HaraNetwork
from models.hara_stem import HaraStem
from models.preactivation_blocks import PreActivationBasicBlock, PreActivationBottleneck
from models.residual_network import BASIC_DEPTHS, BLOCKS, WIDTHS, BlockMaker, checked_depth
from models.shortcuts import Shortcuts


class PreActResNet3D(HaraNetwork):
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
        kind: type[PreActivationBasicBlock | PreActivationBottleneck] = (
            PreActivationBasicBlock if checked_depth(depth) in BASIC_DEPTHS else PreActivationBottleneck
        )
        make_block: BlockMaker = partial(
            kind, shortcuts=Shortcuts.checked(shortcut, cut_shortcut_gradient), convolutions=convolutions
        )
        super().__init__(
            class_count(classes),
            stem=HaraStem.checked(conv1_t_size, conv1_t_stride, no_max_pool),
            stem_width=widths[0],
            widths=widths,
            blocks=BLOCKS[depth],
            make_block=make_block,
            convolutions=convolutions,
            denoising=Denoising.checked(denoise, denoise_options),
        )
