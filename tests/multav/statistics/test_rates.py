"""Shares with Wilson's interval, against the formula as it is printed and against its promise."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from multav.statistics.rates import Rate, rate, rate_of

Z = 1.959963984540054


def printed(k: int, n: int) -> tuple[float, float]:
    """Both roots of (p - k/n)^2 = z^2 p (1 - p) / n, as Wilson has it."""
    roots = np.roots([1 + Z**2 / n, -2 * k / n - Z**2 / n, (k / n) ** 2])
    return float(np.sort(roots.real)[0]), float(np.sort(roots.real)[1])


@settings(max_examples=50)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_ends_solve_the_score_equation(case: tuple[int, int]) -> None:
    found = rate(*case)
    low, high = printed(*case)
    assert found.low == pytest.approx(low, abs=1e-7)
    assert found.high == pytest.approx(high, abs=1e-7)
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    scipys = binomtest(*case).proportion_ci(method="wilson")
    assert found.low == pytest.approx(scipys.low, abs=1e-12)
    assert found.high == pytest.approx(scipys.high, abs=1e-12)


@settings(max_examples=50)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_failures_mirror_successes(case: tuple[int, int]) -> None:
    count, of = case
    one, other = rate(count, of), rate(of - count, of)
    assert one.low == pytest.approx(1 - (other.high or 0), abs=1e-12)


def test_a_share_of_nothing_is_unknown() -> None:
    assert rate(0, 0) == Rate(0, 0, None, None, None)


def test_none_and_all_still_have_a_width() -> None:
    # 100 of 100: Wilson's lower end is n / (n + z^2).
    assert rate(100, 100).low == pytest.approx(100 / (100 + Z**2))
    assert rate(100, 100).high == 1
    assert rate(0, 100).low == 0
    assert rate(0, 100).high == pytest.approx(Z**2 / (100 + Z**2))


@pytest.mark.parametrize(("count", "of"), [(-1, 3), (4, 3), (1, 0)])
def test_what_is_no_share_is_refused(count: int, of: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        rate(count, of)


def test_a_hundred_clips_are_known_to_ten_points() -> None:
    found = rate(50, 100)
    assert ((found.high or 0) - (found.low or 0)) / 2 == pytest.approx(0.096, abs=0.002)


def test_on_average_it_holds_what_it_promises() -> None:
    """Coverage is a sum over all outcomes; Brown, Cai and DasGupta find its mean near the nominal level."""
    n = 50
    shares = np.linspace(0.005, 0.995, 199)
    ends = [rate(k, n) for k in range(n + 1)]
    low, high = np.array([each.low for each in ends]), np.array([each.high for each in ends])
    covered = (low[None] <= shares[:, None]) & (shares[:, None] <= high[None])
    coverage = (binom.pmf(np.arange(n + 1)[None], n, shares[:, None]) * covered).sum(axis=1)
    assert coverage.mean() == pytest.approx(0.95, abs=0.01)
    assert coverage.min() > 0.83
    wald = np.arange(n + 1) / n
    half = Z * np.sqrt(wald * (1 - wald) / n)
    naive = (np.abs(wald[None] - shares[:, None]) <= half[None]) * binom.pmf(
        np.arange(n + 1)[None], n, shares[:, None]
    )
    assert naive.sum(axis=1).min() < 0.3 < sqrt(coverage.min())


def test_hits_are_counted_among_the_chosen() -> None:
    hits = np.array([True, False, True, True])
    assert rate_of(hits) == rate(3, 4)
    assert rate_of(hits, np.array([True, True, False, False])) == rate(1, 2)
