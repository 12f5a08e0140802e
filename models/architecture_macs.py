"""Multiply-adds of one clip in every architecture, counted without building the network. Torch-free.

They are those that `models.counts` finds by running a network, of its layers and of its attention together: that both
say the same is tested.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Final

from models.argument_checks import scaled_widths
from models.denoising_options import DenoisingOptions, options_of
from models.factored_convolution import factored_width
from models.stages import BASIC_DEPTHS, BLOCKS, WIDTHS
from multav.geometry import InputGeometry

_Size = tuple[int, int, int]
_POINT: Final = (1, 1, 1)
_CUBE: Final = (3, 3, 3)
_SPACE: Final = (1, 3, 3)
_TIME: Final = (3, 1, 1)
_TORCHVISION_BETWEEN: Final = 45


def multiply_adds(
    architecture: str, arguments: Mapping[str, Any], *, classes: int, geometry: InputGeometry
) -> int:
    """Of one clip of `geometry` in a network of so many `classes`.

    `architecture` is one that is known, and `arguments` are such that its builder takes them.
    """
    network = _NETWORKS[architecture](arguments)
    variant = arguments.get("denoise")
    options = options_of(variant, arguments.get("denoise_options"))
    features = _Features((geometry.frames, geometry.height, geometry.width))
    network.stem(features)
    for stage, (width, blocks, block) in enumerate(
        zip(network.widths, network.blocks, network.kinds, strict=True)
    ):
        for place in range(blocks):
            before = features.channels
            stride = 2 if stage > 0 and place == 0 else 1
            block(features, width, stride)
            if network.projects and (stride != 1 or before != features.channels):
                features.multiply_adds += features.positions * before * features.channels
        if options is not None:
            _denoise(features, options, whole_clip=variant == "space_time")
    return features.multiply_adds + features.channels * classes


class _Features:
    """Those of one clip on its way: channels, size (T, H, W), and what was multiplied so far."""

    def __init__(self, size: _Size) -> None:
        self.channels, self.size = 3, size
        self.multiply_adds = 0

    @property
    def positions(self) -> int:
        return prod(self.size)

    def convolve(self, width: int, kernel: _Size, stride: _Size = (1, 1, 1), *, groups: int = 1) -> None:
        """With half of an odd kernel as padding, which leaves the size to the stride."""
        self.shrink(stride)
        self.multiply_adds += self.positions * width * (self.channels // groups) * prod(kernel)
        self.channels = width

    def shrink(self, stride: _Size) -> None:
        """Every `stride`-th position in time, height and width, from the first."""
        time, height, width = (-(-length // step) for length, step in zip(self.size, stride, strict=True))
        self.size = (time, height, width)


_Block = Callable[[_Features, int, int], None]
"""Takes features through a block of that width and stride, without its shortcut."""


@dataclass(frozen=True)
class _Network:
    """Widths, numbers and kinds of blocks are by stage; it `projects` where shortcuts are convolutions."""

    stem: Callable[[_Features], None]
    widths: Sequence[int]
    blocks: Sequence[int]
    kinds: Sequence[_Block]
    projects: bool


def _basic(features: _Features, width: int, stride: int) -> None:
    features.convolve(width, _CUBE, (stride, stride, stride))
    features.convolve(width, _CUBE)


def _bottleneck(
    features: _Features,
    width: int,
    stride: int,
    *,
    expansion: int = 4,
    middle: Callable[[int], int] = lambda width: width,
    groups: int = 1,
) -> None:
    inside = middle(width)
    features.convolve(inside, _POINT)
    features.convolve(inside, _CUBE, (stride, stride, stride), groups=groups)
    features.convolve(expansion * width, _POINT)


def _factored(features: _Features, width: int, stride: int, between: int) -> None:
    """One convolution in two parts."""
    features.convolve(between, _SPACE, (1, stride, stride))
    features.convolve(width, _TIME, (stride, 1, 1))


def _factored_basic(features: _Features, width: int, stride: int) -> None:
    _factored(features, width, stride, factored_width(features.channels, width))
    _factored(features, width, 1, factored_width(width, width))


def _factored_bottleneck(features: _Features, width: int, stride: int) -> None:
    features.convolve(width, _POINT)
    _factored(features, width, stride, factored_width(width, width))
    features.convolve(4 * width, _POINT)


def _spatial(features: _Features, width: int, stride: int) -> None:
    features.convolve(width, _SPACE, (1, stride, stride))
    features.convolve(width, _SPACE)


def _torchvision_factored(features: _Features, width: int, stride: int) -> None:
    """The same between the parts of both convolutions."""
    between = factored_width(features.channels, width)
    _factored(features, width, stride, between)
    _factored(features, width, 1, between)


def _denoise(features: _Features, options: DenoisingOptions, *, whole_clip: bool) -> None:
    """Embeddings, attention within a frame or the whole clip, and the convolution of what comes out."""
    channels, positions = features.channels, features.positions
    size = channels // 2 if options.embed else channels
    groups, together = (1, positions) if whole_clip else (features.size[0], positions // features.size[0])
    if options.embed:
        features.multiply_adds += 2 * positions * channels * size
    if options.affinity == "dot_product":
        features.multiply_adds += 2 * positions * size * channels
    else:
        features.multiply_adds += groups * together**2 * (size + channels)
    features.multiply_adds += positions * channels**2


def _hara(
    arguments: Mapping[str, Any],
    *,
    depth: int,
    block: _Block,
    widths: Sequence[int],
    stem_width: int,
    factored_stem: bool = False,
) -> _Network:
    time, stride = arguments.get("conv1_t_size", 7), arguments.get("conv1_t_stride", 1)

    def stem(features: _Features) -> None:
        if factored_stem:
            between = factored_width(features.channels, stem_width, size=7, time=time)
            features.convolve(between, (1, 7, 7), (1, 2, 2))
            features.convolve(stem_width, (time, 1, 1), (stride, 1, 1))
        else:
            features.convolve(stem_width, (time, 7, 7), (stride, 2, 2))
        if not arguments.get("no_max_pool", False):
            features.shrink((2, 2, 2))

    return _Network(stem, widths, BLOCKS[depth], [block] * 4, projects=arguments.get("shortcut", "B") == "B")


def _resnet(
    arguments: Mapping[str, Any], *, basic: _Block, bottleneck: _Block, factored_stem: bool = False
) -> _Network:
    depth = arguments.get("depth", 18)
    widths = scaled_widths(WIDTHS, arguments.get("widen_factor", 1.0))
    return _hara(
        arguments,
        depth=depth,
        block=basic if depth in BASIC_DEPTHS else bottleneck,
        widths=widths,
        stem_width=widths[0],
        factored_stem=factored_stem,
    )


def _wide(arguments: Mapping[str, Any]) -> _Network:
    widths = [width * arguments.get("k", 2) for width in WIDTHS]
    return _hara(
        arguments,
        depth=arguments.get("depth", 50),
        block=partial(_bottleneck, expansion=2),
        widths=widths,
        stem_width=widths[0] if arguments.get("wide_stem", False) else WIDTHS[0],
    )


def _resnext(arguments: Mapping[str, Any]) -> _Network:
    groups = arguments.get("cardinality", 32)
    widths = [2 * width for width in WIDTHS]
    return _hara(
        arguments,
        depth=arguments.get("depth", 101),
        block=partial(_bottleneck, expansion=2, middle=lambda width: groups * (width // 32), groups=groups),
        widths=widths,
        stem_width=widths[0] if arguments.get("wide_stem", False) else WIDTHS[0],
    )


def _torchvision(_: Mapping[str, Any], *, kinds: Sequence[_Block], factored_stem: bool = False) -> _Network:
    def stem(features: _Features) -> None:
        if factored_stem:
            features.convolve(_TORCHVISION_BETWEEN, (1, 7, 7), (1, 2, 2))
            features.convolve(WIDTHS[0], _TIME)
        else:
            features.convolve(WIDTHS[0], (3, 7, 7), (1, 2, 2))

    return _Network(stem, WIDTHS, BLOCKS[18], kinds, projects=True)


_ORDINARY: Final = partial(_resnet, basic=_basic, bottleneck=_bottleneck)
_NETWORKS: Final[dict[str, Callable[[Mapping[str, Any]], _Network]]] = {
    "resnet3d": _ORDINARY,
    "wide-resnet3d": _wide,
    "resnext3d": _resnext,
    # The same convolutions, whatever norm stands before them.
    "preact-resnet3d": _ORDINARY,
    "r2plus1d": partial(_resnet, basic=_factored_basic, bottleneck=_factored_bottleneck, factored_stem=True),
    "r3d_18": partial(_torchvision, kinds=(_basic,) * 4),
    "mc3_18": partial(_torchvision, kinds=(_basic, _spatial, _spatial, _spatial)),
    "r2plus1d_18": partial(_torchvision, kinds=(_torchvision_factored,) * 4, factored_stem=True),
}
