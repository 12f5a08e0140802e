"""Hara's 3D ResNets, by the names and shapes of their tensors (kenshohara/3D-ResNets-PyTorch, both generations).

Torch-free. What shapes show: depth from the number and kind of blocks, shortcut B by its convolutions (type A has no
parameters), widths, the stem's kernel in time, groups, denoising blocks. What they do not: the stem's stride in time,
whether a max pool follows it, whether gradients pass shortcut A, and most of what denoising blocks do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DEPTHS: Final[dict[tuple[str, tuple[int, ...]], int]] = {
    ("basic", (1, 1, 1, 1)): 10,
    ("basic", (2, 2, 2, 2)): 18,
    ("basic", (3, 4, 6, 3)): 34,
    ("bottleneck", (3, 4, 6, 3)): 50,
    ("bottleneck", (3, 4, 23, 3)): 101,
    ("bottleneck", (3, 8, 36, 3)): 152,
    ("bottleneck", (3, 24, 36, 3)): 200,
}
"""Depth by kind of block and blocks per layer."""

_WHICH_DENOISE: Final = (
    "the file has denoising blocks, and no tensor shows which: give arguments.denoise (official, space_time or "
    "frame_shared) and, where they differ from the usual, arguments.denoise_options"
)
_WIDTHS: Final = (64, 128, 256, 512)
_BLOCK: Final = re.compile(r"layer([1-4])\.(\d{1,3})\.")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class HaraNetwork:
    """An architecture, the arguments that were seen, and those that no shape shows with their usual value.

    `undecided` are arguments without a usual value, with what to say to whoever must give them.
    """

    architecture: str
    arguments: dict[str, Any]
    unseen: dict[str, Any] = field(default_factory=dict)
    undecided: dict[str, str] = field(default_factory=dict)


def hara(shapes: Shapes) -> HaraNetwork | None:
    """The network, or None when the names are not Hara's or make no network of his."""
    # R(2+1)D has the stem, as every convolution, in two parts.
    factored = "conv1_t.weight" in shapes
    stem = shapes.get("conv1_t.weight" if factored else "conv1.weight", ())
    bottleneck = "layer1.0.conv3.weight" in shapes
    depth = DEPTHS.get(("bottleneck" if bottleneck else "basic", _blocks(shapes)))
    if len(stem) != 5 or depth is None or "fc.weight" not in shapes:
        return None
    arguments: dict[str, Any] = {
        "depth": depth,
        "shortcut": "B" if any(".downsample." in name for name in shapes) else "A",
        "conv1_t_size": stem[2],
    }
    unseen: dict[str, Any] = {"conv1_t_stride": 1, "no_max_pool": False}
    if arguments["shortcut"] == "A":
        unseen["cut_shortcut_gradient"] = False
    architecture = "r2plus1d" if factored else _kind(shapes, arguments, bottleneck=bottleneck)
    if architecture in ("resnet3d", "preact-resnet3d", "r2plus1d"):
        arguments["widen_factor"] = _widen_factor(shapes, stem[0])
    undecided: dict[str, str] = {}
    if "denoise_res2.conv_out.weight" in shapes:
        pairs = _separate_pairs(shapes)
        if pairs is None:
            undecided["denoise"] = _WHICH_DENOISE
        else:
            arguments["denoise"] = "frame_separate"
            unseen["denoise_options"] = _separate_options(shapes, pairs)
    return HaraNetwork(architecture, arguments, unseen, undecided)


def _separate_pairs(shapes: Shapes) -> list[int] | None:
    """How many separate theta the block of each stage has; None where they are shared."""
    if "denoise_res2.theta.0.weight" not in shapes:
        return None
    return [sum(name.startswith(f"denoise_res{stage}.theta.") for name in shapes) for stage in range(2, 6)]


def _separate_options(shapes: Shapes, pairs: list[int]) -> dict[str, Any]:
    """Options of `frame_separate`: a pooled stem leaves half of the frames to the first stage."""
    options: dict[str, Any] = {
        "frames": 2 * pairs[0],
        "pairs": "all" if pairs[0] == pairs[-1] and pairs[0] > 1 else "used",
    }
    if "denoise_res2.bn_out.weight" in shapes:
        # The authors' blocks hold a batch norm that they never apply.
        options["norm"] = "unused"
    return options


def _blocks(shapes: Shapes) -> tuple[int, ...]:
    """Blocks per layer."""
    found = {match.groups() for name in shapes if (match := _BLOCK.match(name))}
    return tuple(sum(layer == wanted for layer, _ in found) for wanted in "1234")


def _kind(shapes: Shapes, arguments: dict[str, Any], *, bottleneck: bool) -> str:
    """The family of ordinary blocks; its own argument is added to `arguments`."""
    if _before_activation(shapes):
        return "preact-resnet3d"
    if not bottleneck:
        return "resnet3d"
    middle, grouped = (_size(shapes, "layer1.0.conv2.weight", axis) for axis in (0, 1))
    last = _size(shapes, "layer1.0.conv3.weight", 0)
    groups = middle // grouped if grouped and middle % grouped == 0 else 1
    wide_stem = _size(shapes, "conv1.weight", 0) > _WIDTHS[0]
    if groups > 1 or last not in (2 * middle, 4 * middle):
        arguments |= {"cardinality": max(groups, middle // 4 if groups == 1 else 1), "wide_stem": wide_stem}
        return "resnext3d"
    # Four times as many channels leave a block as its middle has; of a wide block twice as many.
    if last == 2 * middle:
        arguments |= {"k": middle // _WIDTHS[0], "wide_stem": wide_stem}
        return "wide-resnet3d"
    return "resnet3d"


def _before_activation(shapes: Shapes) -> bool:
    """Batch norm before the convolution has the channels that come in, not those that go out."""
    out, into = (_size(shapes, "layer2.0.conv1.weight", axis) for axis in (0, 1))
    return out != into == _size(shapes, "layer2.0.bn1.weight", 0)


def _widen_factor(shapes: Shapes, stem: int) -> float:
    """The factor that makes all widths, each rounded down; the smallest that does."""
    widths = [stem]
    for layer in "234":
        # The middle of a bottleneck is as wide as a basic block's way out.
        names = (f"layer{layer}.0.conv1.weight", f"layer{layer}.0.conv1_t.weight")
        widths += [_size(shapes, name, 0) for name in names if name in shapes]
    factor = max(width / full for width, full in zip(widths, _WIDTHS, strict=False))
    return float(factor)


def _size(shapes: Shapes, name: str, axis: int) -> int:
    """Axis 0 of a weight: what goes out; axis 1: what comes in, per group. 0 where there is none."""
    shape = shapes.get(name, ())
    return shape[axis] if axis < len(shape) else 0
