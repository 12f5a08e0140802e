"""The smallest bound per clip: quantiles, their intervals, and clips that held to the end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multav.statistics.minimum_epsilon import SHARES, minimum_epsilons


def test_by_hand() -> None:
    # Ten clips, three of which held: the fifth smallest is the median, the tenth lies above.
    found = minimum_epsilons(np.array([3, 1, 2, 5, 4, 6, 7, np.nan, np.nan, np.nan]), 8.0)
    assert (found.clips, found.above, found.largest) == (10, 3, 8.0)
    values = {each.share: each.value for each in found.quantiles}
    assert values == {0.1: 1, 0.25: 3, 0.5: 5, 0.75: None, 0.9: None}
    # Ranks 2 and 9 of 10 enclose the median with 97.9 %.
    median = next(each for each in found.quantiles if each.share == 0.5)
    assert (median.low, median.high) == (2, None)
    assert found.steps[-1].share == pytest.approx(0.7)


def test_few_clips_say_nothing_from_below() -> None:
    found = minimum_epsilons(np.array([1.02, 1.03]), 1.04, nothing=1.0)
    assert {each.low for each in found.quantiles if each.share <= 0.5} == {1.0}
    assert {each.high for each in found.quantiles} <= {None, 1.03}


@settings(max_examples=40)
@given(st.lists(st.one_of(st.floats(0.001, 1), st.none()), min_size=1, max_size=40))
def test_quantiles_are_the_least_bounds_that_reach_their_share(given_bounds: list[float | None]) -> None:
    found = minimum_epsilons(np.array([np.nan if each is None else each for each in given_bounds]), 1.0)
    for each in found.quantiles:
        reaching = [
            bound
            for bound in sorted(b for b in given_bounds if b is not None)
            if sum(b is not None and b <= bound for b in given_bounds)
            >= each.share * len(given_bounds) - 1e-9
        ]
        assert each.value == (reaching[0] if reaching else None)
        value, high = (np.inf if end is None else end for end in (each.value, each.high))
        assert (np.inf if each.low is None else each.low) <= value <= high


def test_the_interval_covers_the_true_median() -> None:
    """200 times 41 exponential clips cut off at 2: the median is log 2, whoever held."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        bounds = rng.exponential(size=41)
        bounds[bounds > 2] = np.nan
        median = next(each for each in minimum_epsilons(bounds, 2.0).quantiles if each.share == 0.5)
        covered += (median.low or 0) <= np.log(2) <= (median.high if median.high is not None else np.inf)
    assert covered / 200 >= 0.91


def test_many_steps_are_thinned() -> None:
    bounds = np.linspace(0.001, 0.9, 5000)
    found = minimum_epsilons(bounds, 1.0)
    assert len(found.steps) <= 200
    assert found.steps[0].epsilon == pytest.approx(0.001)
    assert found.steps[-1].epsilon == pytest.approx(0.9)
    assert found.steps[-1].share == 1


def test_no_clips_and_wrong_bounds() -> None:
    assert minimum_epsilons(np.zeros(0), 1.0).quantiles == ()
    nobody = minimum_epsilons(np.array([np.nan, np.nan]), 1.0)
    assert (nobody.above, nobody.steps) == (2, ())
    assert [each.value for each in nobody.quantiles] == [None] * len(SHARES)
    with pytest.raises(ValueError, match="above the largest"):
        minimum_epsilons(np.array([2.0]), 1.0)
