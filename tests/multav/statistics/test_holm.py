"""Holm's correction, by hand and by its promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multav.statistics.holm import holm


def test_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; never falling: 0.04, 0.06, 0.06, 0.06.
    assert holm([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    # Holm's own pattern: the second is judged by m - 1, so it passes where Bonferroni's 0.054 would not.
    assert holm([0.001, 0.018, 0.9]) == pytest.approx([0.003, 0.036, 0.9])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_step_down_says_the_same(p_values: list[float]) -> None:
    """Reject in order while p <= level / (how many are left): the adjusted value is the smallest such level."""
    adjusted = holm(p_values)
    assert all(p <= each <= 1 for p, each in zip(p_values, adjusted, strict=True))
    for level in (0.01, 0.05, 0.2):
        rejected: set[int] = set()
        for rank, index in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
            if p_values[index] * (len(p_values) - rank) > level:
                break
            rejected.add(index)
        assert rejected == {index for index, each in enumerate(adjusted) if each <= level}


def test_false_marks_are_rare_together() -> None:
    """20 true hypotheses, 4,000 times: any mark at all in at most 5 % of the families."""
    rng = np.random.default_rng(0)
    marked = np.mean([min(holm(list(rng.random(20)))) < 0.05 for _ in range(4000)])
    assert marked == pytest.approx(0.05, abs=0.011)


def test_what_is_no_probability_is_refused() -> None:
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="p-value"):
            holm([0.5, wrong])
