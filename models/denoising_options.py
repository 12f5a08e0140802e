"""What may be said about denoising blocks: the four variants and their options (`models.denoising`). Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from models.argument_checks import flag, one_of, whole_number

NORMS: Final = ("batch", "unused", "none")
AFFINITIES: Final = ("softmax", "dot_product")
PAIRS: Final = ("used", "all")
_MOST_FRAMES: Final = 512


@dataclass(frozen=True)
class DenoisingOptions:
    """What may be chosen about the blocks; every variant has its own defaults (`VARIANTS`).

    norm: "batch" (gamma starts at zero), "none", or "unused": held in the state dict as `bn_out` and never applied,
        as in the checkpoints of the paper's authors.
    relu: whether a ReLU follows the sum.
    embed: whether there are theta and phi.
    affinity: "softmax" or "dot_product".
    frames: of the clips. For separate weights only, one pair for each of the places in time that they leave.
    pairs: "used", or "all": every block has as many pairs as the first one, as its authors made them.
    """

    norm: str
    relu: bool
    embed: bool = True
    affinity: str = "softmax"
    frames: int = 40
    pairs: str = "used"


VARIANTS: Final = {
    "official": DenoisingOptions(norm="batch", relu=False),
    "space_time": DenoisingOptions(norm="batch", relu=False),
    "frame_shared": DenoisingOptions(norm="none", relu=True),
    "frame_separate": DenoisingOptions(norm="none", relu=False),
}
_ONLY_SEPARATE: Final = {"frames", "pairs"}


def variant(denoise: Any) -> str | None:
    """`denoise` if it is the name of a variant, or None for no blocks."""
    return None if denoise is None else one_of("denoise", denoise, VARIANTS)


def options_of(name: str | None, denoise_options: Any) -> DenoisingOptions | None:
    """The options of the variant `name`, with those of the mapping `denoise_options` in place of its own."""
    if name is None:
        if denoise_options:
            raise ValueError(f"denoise_options need denoise to be one of {', '.join(VARIANTS)}")
        return None
    given = {} if denoise_options is None else denoise_options
    if not isinstance(given, Mapping):
        raise TypeError(f"denoise_options={given!r:.60} must map names to values")
    allowed = {field.name for field in fields(DenoisingOptions)}
    if name != "frame_separate":
        allowed -= _ONLY_SEPARATE
    unknown = sorted(f"{each!r:.60}" for each in given if each not in allowed)
    if unknown:
        raise ValueError(
            f"denoise_options of {name!r} are {', '.join(sorted(allowed))}; not {', '.join(unknown)}"
        )
    options = replace(VARIANTS[name], **given)
    one_of("norm", options.norm, NORMS)
    flag("relu", options.relu)
    one_of("affinity", options.affinity, AFFINITIES)
    whole_number("frames", options.frames, least=1, most=_MOST_FRAMES)
    one_of("pairs", options.pairs, PAIRS)
    if not flag("embed", options.embed) and name == "frame_separate":
        raise ValueError("embed=False leaves nothing to be separate; use denoise='frame_shared'")
    return options
