"""What the number of a bound counts. Torch-free."""

from typing import Literal

from multav.audits.cells import Cell

Unit = Literal["ratio", "difference", "length"]
"""A factor on every value (above 1), a change of every value (in [0, 1]), or a Euclidean length over the clip."""


def bound_unit(cell: Cell) -> Unit:
    """The unit of the epsilon of `cell`: "1.04" is 4 % of every value, or a length, or more than the whole range."""
    if cell.attack.ball.name != "linf":
        return "length"
    return "ratio" if cell.multiplicative else "difference"
