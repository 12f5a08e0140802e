"""What was crafted on one model, tried on another. Torch-free."""

from collections.abc import Iterable, Sequence

import numpy as np

from multav.audits.cells import Cell
from multav.audits.outcome import CLEAN
from multav.reports.outcome_columns import OutcomeColumns
from multav.reports.summary import Transfer
from multav.statistics.cluster_bootstrap import Groups


def transfers(cells: Sequence[Cell], outcomes: OutcomeColumns, groups: Groups) -> Iterable[Transfer]:
    """Every pair of models and cell that has outcomes.

    A clip counts where both models had it right before: where the surrogate was wrong nothing was crafted, and where
    the other was wrong nothing could be fooled. `own_success` is the attack's success on the same clips at home.
    """
    named = {cell.name for cell in cells}
    for crafted_on, cell, tested_on in outcomes.keys:
        if crafted_on == tested_on or cell not in named:
            continue
        there = outcomes.of(crafted_on, cell, tested_on)
        home = outcomes.of(crafted_on, cell)
        surrogate, other = outcomes.of(crafted_on, CLEAN), outcomes.of(tested_on, CLEAN)
        both = there.seen & surrogate.right & other.right
        hits = np.column_stack((~there.right, ~home.right, surrogate.right))
        among = np.column_stack((both, both & home.seen, there.seen & surrogate.seen))
        success, own_success, accuracy = groups.rates(hits, among)
        yield Transfer(
            cell=cell,
            crafted_on=crafted_on,
            tested_on=tested_on,
            success=success,
            own_success=own_success,
            surrogate=accuracy,
        )
