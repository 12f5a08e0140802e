"""Hara's wide 3D ResNet: bottlenecks that are `k` times as wide inside, and give twice their width.

The released WRN-50 (2018) has depth 50, k 2, shortcut B, and the stem of the others (64 channels). The later code makes
the stem `k` times as wide too: `wide_stem`. The keys are those of the 3D ResNet.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from models.architecture_arguments import wideness
from models.argument_checks import class_count, flag
from models.bottleneck import Bottleneck
from models.convolutions import Convolutions
from models.denoising import Denoising
from models.hara_network import HaraNetwork
from models.hara_stem import HaraStem
from models.shortcuts import Shortcuts
from models.stages import BLOCKS, BOTTLENECK_DEPTHS, WIDTHS, checked_depth


class WideResNet3D(HaraNetwork):
    """Logits (B, classes) of normalised clips (B, 3, T, H, W).

    `k` is the width of the blocks, 1 to 8; the other arguments are `ResNet3D`'s. Refuses as it does.
    """

    def __init__(
        self,
        classes: int,
        *,
        depth: int = 50,
        k: int = 2,
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
        widths = [width * wideness(k) for width in WIDTHS]
        convolutions = Convolutions(flag("plain", plain))
        super().__init__(
            class_count(classes),
            stem=HaraStem.checked(conv1_t_size, conv1_t_stride, no_max_pool),
            stem_width=widths[0] if flag("wide_stem", wide_stem) else WIDTHS[0],
            widths=widths,
            blocks=BLOCKS[checked_depth(depth, BOTTLENECK_DEPTHS)],
            make_block=partial(
                Bottleneck,
                shortcuts=Shortcuts.checked(shortcut, cut_shortcut_gradient),
                convolutions=convolutions,
                expansion=2,
            ),
            convolutions=convolutions,
            denoising=Denoising.checked(denoise, denoise_options),
        )
