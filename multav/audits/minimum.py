"""Cells that look for the smallest epsilon that fools a model. Torch-free."""

from collections.abc import Sequence
from typing import Final

from multav.audits.cells import Cell

HALVINGS: Final = 8
"""How often the interval is halved: to a 256th of what lies between nothing and the largest bound."""
_SUFFIX: Final = "@min"


def minimum_cells(cells: Sequence[Cell]) -> dict[str, Cell]:
    """By the name of the cell that looks for it, the cell of each family with the largest bound."""
    largest: dict[str, Cell] = {}
    for cell in cells:
        known = largest.get(cell.family)
        if known is None or cell.attack.epsilon > known.attack.epsilon:
            largest[cell.family] = cell
    return {family + _SUFFIX: cell for family, cell in largest.items()}
