"""Hara's 3D ResNet: the paper's network (depth 18, shortcut A), with the state-dict keys of its checkpoints.

    conv1 7x7x7 /(s,2,2) - bn1 - ReLU - max pool 3 /2 - layer1..4 - mean over time and space - fc

Layers 2 to 4 halve time, height and width with the first 3x3x3 convolution of their first block. Depths 10, 18 and 34
have blocks of two convolutions, the deeper ones bottlenecks.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from torch import nn

from models.argument_checks import class_count, flag, scaled_widths
from models.basic_block import BasicBlock
from models.bottleneck import Bottleneck
from models.convolutions import Convolutions
from models.denoising import Denoising
from models.hara_network import HaraNetwork
from models.hara_stem import HaraStem
from models.residual_network import BlockMaker
from models.shortcuts import Shortcuts
from models.stages import BASIC_DEPTHS, BLOCKS, WIDTHS, checked_depth


class ResNet3D(HaraNetwork):
    """Logits (B, classes) of normalised clips (B, 3, T, H, W).

    Args:
        classes: size of the last layer.
        depth: a key of `BLOCKS`.
        shortcut: "A" (no parameters) or "B" (convolutions).
        widen_factor: multiplies every width (rounded down), at most 4.
        conv1_t_size: the stem's kernel size in time, odd.
        conv1_t_stride: the stem's stride in time.
        no_max_pool: leave the pooling after the stem out.
        cut_shortcut_gradient: let no gradient through shortcuts of type A, as the original code does.
        denoise: a name of `models.denoising_options.VARIANTS`, for a block after each stage.
        denoise_options: fields of `models.denoising_options.DenoisingOptions` that differ from the variant's own.
        plain: ordinary convolutions only, without the exact faster forms (to compare with).

    Raises `TypeError` or `ValueError` for arguments that are not allowed, before any weights are made.
    """

    basic_block: ClassVar[Callable[..., nn.Module]] = BasicBlock
    bottleneck: ClassVar[Callable[..., nn.Module]] = Bottleneck

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
        make_block: BlockMaker = partial(
            self.basic_block if checked_depth(depth) in BASIC_DEPTHS else self.bottleneck,
            shortcuts=Shortcuts.checked(shortcut, cut_shortcut_gradient),
            convolutions=convolutions,
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
