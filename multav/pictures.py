"""Pictures that are kept of an attack, small enough to keep."""

from dataclasses import dataclass, field

import numpy as np

from multav.grid import EIGHT_BITS, Drawable, Grid, shown
from multav.video.picture import Picture

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
    """The pictures of a contact sheet, as `multav.figures` takes them: clean, delivered and crafted, one of each a row.

    Given are those of the attack, on `grid`.
    """

    grid: Grid = EIGHT_BITS
    clean: list[Drawable] = field(default_factory=list)
    delivered: list[Drawable] = field(default_factory=list)
    crafted: list[Drawable] = field(default_factory=list)

    def add(self, source: Picture, delivered: Picture, crafted: Picture) -> None:
        """Add a row: the clean picture, the delivered one, and what was crafted."""
        pictures = self.grid.drawable(thin(source, _SHEET_SIDE), thin(crafted, _SHEET_SIDE))
        self.clean.append(pictures[0])
        self.crafted.append(pictures[1])
        self.delivered.append(shown(thin(delivered, _SHEET_SIDE), self.grid.bits))
