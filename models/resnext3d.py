"""Hara's 3D ResNeXt: bottlenecks whose 3x3x3 convolution is cut into `cardinality` groups.

    planes 128, 256, 512, 1024 - inside cardinality * planes / 32 channels - out 2 * planes

The released ones (2018) have depth 101, cardinality 32, shortcut B and a stem of 64 channels. The later code has a stem
of 128: `wide_stem`. The keys are those of the 3D ResNet.
"""

from collections.abc import Mapping
from typing import Any, Literal

from models.architecture_arguments import group_count
from models.argument_checks import class_count, flag
from models.bottleneck import Bottleneck
from models.convolutions import Convolutions
from models.denoising import Denoising
from models.hara_network import HaraNetwork
from models.hara_stem import HaraStem
from models.shortcuts import Shortcuts
from models.stages import BLOCKS, BOTTLENECK_DEPTHS, WIDTHS, checked_depth

PLANES = (128, 256, 512, 1024)


class ResNeXt3D(HaraNetwork):
    """Logits (B, classes) of normalised clips (B, 3, T, H, W).

    `cardinality` is the number of groups, 1 to 128; the other arguments are `ResNet3D`'s. Refuses as it does.
    """

    def __init__(
        self,
        classes: int,
        *,
        depth: int = 101,
        cardinality: int = 32,
        wide_stem: bool = False,
        shortcut: Literal["A", "B"] = "B",
        conv1_t_size: int = 7,
        conv1_t_stride: int = 1,
        no_max_pool: bool = False,
        cut_shortcut_gradient: bool = False,
        denoise: str | None = None,
        denoise_options: Mapping[str, Any] | None = None,
        plain: bool = False,
    ) -> None:
        groups = group_count(cardinality)
        shortcuts = Shortcuts.checked(shortcut, cut_shortcut_gradient)
        convolutions = Convolutions(flag("plain", plain))

        def make_block(channels: int, width: int, stride: int) -> Bottleneck:
            return Bottleneck(
                channels,
                width,
                stride,
                shortcuts=shortcuts,
                convolutions=convolutions,
                expansion=2,
                middle=groups * (width // 32),
                groups=groups,
            )

        super().__init__(
            class_count(classes),
            stem=HaraStem.checked(conv1_t_size, conv1_t_stride, no_max_pool),
            stem_width=PLANES[0] if flag("wide_stem", wide_stem) else WIDTHS[0],
            widths=PLANES,
            blocks=BLOCKS[checked_depth(depth, BOTTLENECK_DEPTHS)],
            make_block=make_block,
            convolutions=convolutions,
            denoising=Denoising.checked(denoise, denoise_options),
        )
