"""Where an attack acted, over the dimmed picture."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from multav.figures.levels import Levels, Mask, Picture, Pictures, mask_of, pair_of

# Amber: seen on every hue, and by colour-blind readers.
TINT: Final = (255, 176, 0)
_TINT_SHARE: Final = 0.55
_DIMMED: Final = 0.4
# An outline is this part of the shorter side.
_OUTLINES: Final = 240
_LUMA: Final = (0.299, 0.587, 0.114)


def changed_region(clean: Pictures, adversarial: Pictures, mask: Mask | None = None) -> Picture:
    """The clean picture in dim grey, with the adversarial pixels that differ from it tinted amber.

    With a `mask` (bool, such as `crafted.mask`) its outline is drawn too, in full amber: so that one sees which
    pixels of the region were left as they were. Pictures and result as in `multav.figures`. Raises `TypeError` or
    `ValueError` for pictures or a mask that are none.
    """
    before, after = pair_of(clean, adversarial)
    # Spelled out: numpy's `any` over an axis of three is ten times slower.
    differs = before != after
    changed = differs[..., 0] | differs[..., 1] | differs[..., 2]
    dimmed = _dimmed(before)
    overlay: Picture = np.empty(before.shape, dtype=np.uint8)
    for channel, tint in enumerate(TINT):
        tinted = after[..., channel] * np.float32(1 - _TINT_SHARE)
        tinted += np.float32(tint * _TINT_SHARE)
        mixed = np.where(changed, tinted, dimmed)
        overlay[..., channel] = np.rint(mixed, out=mixed)
    if mask is not None:
        # Thick enough to be seen when a large picture is shown small.
        width = max(1, round(min(before.shape[-3:-1]) / _OUTLINES))
        overlay[_outline(mask_of(mask, before.shape), width)] = TINT
    return overlay


def _dimmed(levels: Levels) -> NDArray[np.float32]:
    """The luma, darkened, (..., H, W)."""
    red, green, blue = (np.float32(weight * _DIMMED) for weight in _LUMA)
    luma: NDArray[np.float32] = levels[..., 0] * red + levels[..., 1] * green + levels[..., 2] * blue
    return luma


def _outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The pixels of `mask` (..., H, W) within `width` steps up, down, left or right of one outside of it."""
    inside = mask
    for _ in range(width):
        core = inside.copy()
        core[..., 1:, :] &= inside[..., :-1, :]
        core[..., :-1, :] &= inside[..., 1:, :]
        core[..., :, 1:] &= inside[..., :, :-1]
        core[..., :, :-1] &= inside[..., :, 1:]
        inside = core
    return mask & ~inside
