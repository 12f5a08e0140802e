"""Eight bits without breaking the bound: every value is rounded toward the clean one.

At epsilon 1.04 rounding to the nearest level breaks the ratio bound on 116 of 255 levels. Rounding up-moves
down and down-moves up keeps every bound that is convex and contains the clean value, at the price that dark
levels (below 25 at 1.04) cannot move.
"""

import torch
from torch import Tensor

# A level stored as float32 and multiplied by 255 misses the integer by far less than this.
_TOLERANCE = 1e-3


def levels_toward(adversarial: Tensor, clean: Tensor) -> Tensor:
    """The 8-bit levels of `adversarial` (float in [0, 1]), rounded toward `clean` (uint8 levels, same shape).

    Returns uint8 between the clean level and the adversarial value, whichever way the value moved.
    """
    values = adversarial * 255.0
    levels = clean.to(values.dtype)
    down = torch.minimum(torch.ceil(values - _TOLERANCE), levels)
    up = torch.floor_(values.add_(_TOLERANCE))
    # Up-moves take the floor, down-moves the ceiling; both stop at the clean level.
    return torch.where(up > levels, up, down).clamp_(0, 255).to(torch.uint8)
