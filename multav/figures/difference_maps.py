"""The change of every value, enlarged: as it is (black is unchanged) and with its sign (grey is unchanged)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from multav.figures.levels import Picture, Pictures, pair_of

GAIN: Final = 15
"""The paper shows differences enlarged fifteen times."""
GREY: Final = 128
"""The level that stands for no change where changes have a sign."""


def difference_map(clean: Pictures, adversarial: Pictures, *, gain: float = GAIN) -> Picture:
    """`gain` times the size of the change, clipped to 255: black is unchanged, at 15 white is 17 levels or more.

    Pictures and result as in `multav.figures`. Raises `TypeError` or `ValueError` for pictures that are none.
    """
    change = _change(clean, adversarial, gain)
    return _levels(np.abs(change, out=change))


def signed_difference_map(clean: Pictures, adversarial: Pictures, *, gain: float = GAIN) -> Picture:
    """`gain` times the change around grey, clipped to 0..255: 128 is unchanged, brighter became brighter.

    Channels keep their own change: what became redder is reddish. Otherwise as `difference_map`.
    """
    change = _change(clean, adversarial, gain)
    change += GREY
    return _levels(change)


def _change(clean: Pictures, adversarial: Pictures, gain: float) -> NDArray[np.float32]:
    if not gain > 0:
        raise ValueError(f"gain={gain:g}; expected a number above 0")
    before, after = pair_of(clean, adversarial)
    change: NDArray[np.float32] = np.subtract(after, before, dtype=np.float32)
    change *= np.float32(gain)
    return change


def _levels(values: NDArray[np.float32]) -> Picture:
    np.clip(values, 0, 255, out=values)
    return np.rint(values, out=values).astype(np.uint8)
