"""What was crafted on one model, tried on another. Torch-free."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from multav.audits.cells import Cell
from multav.audits.outcome import CLEAN
from multav.reports.outcome_columns import Key, OutcomeColumns
from multav.reports.summary import Transfer
from multav.statistics.cluster_bootstrap import Groups

Hits = NDArray[np.bool_]

# Keys whose groups are drawn together: each draw costs as much as hundreds of them.
_AT_ONCE: Final = 100


def transfers(cells: Sequence[Cell], outcomes: OutcomeColumns, groups: Groups) -> Iterable[Transfer]:
    """Every pair of models and cell that has outcomes.

    A clip counts where both models had it right before: where the surrogate was wrong nothing was crafted, and where
    the other was wrong nothing could be fooled. `own_success` is the attack's success on the same clips at home.
    """
    named = {cell.name for cell in cells}
    keys = [key for key in outcomes.keys if key[0] != key[2] and key[1] in named]
    for start in range(0, len(keys), _AT_ONCE):
        part = keys[start : start + _AT_ONCE]
        counted = [each for key in part for each in _counted(key, outcomes)]
        rates = groups.rates(
            np.column_stack([hits for hits, _ in counted]), np.column_stack([among for _, among in counted])
        )
        for place, (crafted_on, cell, tested_on) in enumerate(part):
            success, own_success, accuracy = rates[3 * place : 3 * place + 3]
            yield Transfer(
                cell=cell,
                crafted_on=crafted_on,
                tested_on=tested_on,
                success=success,
                own_success=own_success,
                surrogate=accuracy,
            )


def _counted(
    key: Key, outcomes: OutcomeColumns
) -> tuple[tuple[Hits, Hits], tuple[Hits, Hits], tuple[Hits, Hits]]:
    """What is counted among which clips: fooled there, fooled at home, right before at home."""
    crafted_on, cell, tested_on = key
    there, home = outcomes.of(*key), outcomes.of(crafted_on, cell)
    surrogate, other = outcomes.of(crafted_on, CLEAN), outcomes.of(tested_on, CLEAN)
    both = there.seen & surrogate.right & other.right
    return (
        (~there.right, both),
        (~home.right, both & home.seen),
        (surrogate.right, there.seen & surrogate.seen),
    )
