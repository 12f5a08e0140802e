"""Confusion tables against counting one by one."""

from collections import Counter

import numpy as np
import pytest

from multav.statistics.confusion import confusion, entries, hits_per_class


def test_counts_are_those_of_a_counter() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 7, 400), rng.integers(0, 7, 400)
    table = confusion(labels, predicted, 8)
    counted = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    assert {(row, column): count for row, column, count in entries(table)} == dict(counted)
    assert [count for _, _, count in entries(table)] == sorted(counted.values(), reverse=True)
    assert table.sum() == 400
    hits, of = hits_per_class(labels, labels == predicted, 8)
    assert hits.tolist() == np.diag(table).tolist()
    assert of.tolist() == table.sum(axis=1).tolist()


@pytest.mark.parametrize(("labels", "predicted"), [([0], [3]), ([-1], [0])])
def test_an_index_outside_is_refused(labels: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="3 classes"):
        confusion(np.array(labels), np.array(predicted), 3)
