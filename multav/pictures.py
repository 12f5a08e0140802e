"""Pictures that are kept of an attack, small enough to keep."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

# Enough for the panels of a contact sheet.
_SHEET_SIDE = 960


def thin(picture: Picture, longest: int) -> Picture:
    """Every n-th pixel of `picture`, so that its longer side is at most `longest` and both sides are even."""
    step = -(-max(picture.shape[:2]) // longest)
    thinned = picture[::step, ::step]
    height, width = (max(2, side - side % 2) for side in thinned.shape[:2])
    missing = [(0, max(0, side - have)) for side, have in zip((height, width), thinned.shape, strict=False)]
    thinned = np.pad(thinned, (*missing, (0, 0)), mode="edge")
    return np.ascontiguousarray(thinned[:height, :width])


@dataclass
class Sheet:
    """The pictures of a contact sheet: clean, delivered and crafted, one of each a row."""

    clean: list[Picture] = field(default_factory=list)
    delivered: list[Picture] = field(default_factory=list)
    crafted: list[Picture] = field(default_factory=list)

    def add(self, source: Picture, delivered: Picture, crafted: Picture) -> None:
        """Add a row: the clean picture, the delivered one, and what was crafted."""
        self.clean.append(thin(source, _SHEET_SIDE))
        self.delivered.append(thin(delivered, _SHEET_SIDE))
        self.crafted.append(thin(crafted, _SHEET_SIDE))
