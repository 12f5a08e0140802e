"""Cells that look for the smallest epsilon that fools a model. Torch-free."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from multav.audits.cells import Cell

HALVINGS: Final = 7
"""How often the interval is halved: to a 128th of what lies between the smallest and the largest bound."""


def minimum_cells(cells: Sequence[Cell]) -> dict[str, Cell]:
    """By the name of the cell that looks for it, the cell of each family with the largest bound."""
    largest: dict[str, Cell] = {}
    for cell in cells:
        known = largest.get(cell.family)
        if known is None or cell.attack.epsilon > known.attack.epsilon:
            largest[cell.family] = cell
    return {cell_of_minimum(cell).name: cell for cell in largest.values()}


def cell_of_minimum(cell: Cell) -> Cell:
    """The cell in which the smallest epsilon of a family is looked for: "multav-linf@min"."""
    return replace(cell, name=f"{cell.family}@min")
