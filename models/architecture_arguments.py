"""The arguments of every architecture, and what each may be: known without building a network. Torch-free.

Builders hold their arguments against the same checks; that each takes what stands here and refuses what is refused here
is tested. What depends on how all arguments go together (a network that is too large) only they find out.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal

from models.architecture_names import ARCHITECTURE_NAMES
from models.argument_checks import flag, one_of, scaled_widths, whole_number
from models.denoising_options import options_of, variant
from models.stages import BOTTLENECK_DEPTHS, WIDTHS, checked_depth

Check = Callable[[Any], object]
"""Raises `TypeError` or `ValueError` for a value that is not allowed."""

_LONGEST_KERNEL: Final = 31
_LARGEST_STRIDE: Final = 16
_WIDEST: Final = 8
_MOST_GROUPS: Final = 128


def stem_kernel(conv1_t_size: Any) -> int:
    """The size of the stem's kernel in time, if it is odd and not too long."""
    kernel = whole_number("conv1_t_size", conv1_t_size, least=1, most=_LONGEST_KERNEL)
    if kernel % 2 == 0:
        raise ValueError(f"conv1_t_size={kernel} must be odd")
    return kernel


def stem_stride(conv1_t_stride: Any) -> int:
    """The stride of the stem in time, if it is not too large."""
    return whole_number("conv1_t_stride", conv1_t_stride, least=1, most=_LARGEST_STRIDE)


def shortcut_kind(shortcut: Any) -> Literal["A", "B"]:
    """The kind of shortcuts, if there is one of that name."""
    return "A" if one_of("shortcut", shortcut, ("A", "B")) == "A" else "B"


def wideness(k: Any) -> int:
    """How many times as wide the blocks of a wide network are, if not too many."""
    return whole_number("k", k, least=1, most=_WIDEST)


def group_count(cardinality: Any) -> int:
    """Into how many groups a convolution is cut, if not too many."""
    return whole_number("cardinality", cardinality, least=1, most=_MOST_GROUPS)


_ANY: Final[dict[str, Check]] = {
    "denoise": variant,
    # Depends on the variant, see `wrong_arguments`.
    "denoise_options": lambda _: None,
    "plain": partial(flag, "plain"),
}
_HARA: Final[dict[str, Check]] = {
    "depth": checked_depth,
    "shortcut": shortcut_kind,
    "conv1_t_size": stem_kernel,
    "conv1_t_stride": stem_stride,
    "no_max_pool": partial(flag, "no_max_pool"),
    "cut_shortcut_gradient": partial(flag, "cut_shortcut_gradient"),
    **_ANY,
}
_PLAIN_HARA: Final[dict[str, Check]] = {**_HARA, "widen_factor": partial(scaled_widths, WIDTHS)}
_BOTTLENECKS: Final[dict[str, Check]] = {
    **_HARA,
    "depth": partial(checked_depth, allowed=BOTTLENECK_DEPTHS),
    "wide_stem": partial(flag, "wide_stem"),
}
_OWN: Final[dict[str, dict[str, Check]]] = {
    "resnet3d": _PLAIN_HARA,
    "wide-resnet3d": {**_BOTTLENECKS, "k": wideness},
    "resnext3d": {**_BOTTLENECKS, "cardinality": group_count},
    "preact-resnet3d": _PLAIN_HARA,
    "r2plus1d": _PLAIN_HARA,
}
ARGUMENTS: Final[dict[str, dict[str, Check]]] = {name: _OWN.get(name, _ANY) for name in ARCHITECTURE_NAMES}
"""By architecture: its arguments, each with its check."""


def wrong_arguments(architecture: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with arguments of an architecture that is known, by the argument's name."""
    allowed = ARGUMENTS[architecture]
    wrong = {}
    for name, value in arguments.items():
        if name not in allowed:
            wrong[name] = f"{architecture} has no argument {name!r}: it takes {', '.join(sorted(allowed))}"
            continue
        try:
            allowed[name](value)
        except (TypeError, ValueError) as error:
            wrong[name] = str(error)
    if "denoise" not in wrong:
        try:
            options_of(arguments.get("denoise"), arguments.get("denoise_options"))
        except (TypeError, ValueError) as error:
            wrong["denoise_options"] = str(error)
    return wrong
