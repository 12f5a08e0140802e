"""Intervals by group: against a plain loop, and against their promise where clips of a group go together."""

import time

import numpy as np
import pytest

from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.rates import rate


def test_each_group_is_drawn_whole() -> None:
    """Against resampling with lists, clip by clip: the percentiles of both lie close together."""
    rng = np.random.default_rng(0)
    names = [f"g{k}" for k in rng.integers(0, 40, 300)]
    shift = {name: rng.normal() for name in names}
    hits = np.array([rng.normal() + shift[name] > 0 for name in names])
    members: dict[str, list[bool]] = {}
    for name, hit in zip(names, hits, strict=True):
        members.setdefault(name, []).append(bool(hit))
    pools, means = list(members.values()), []
    for _ in range(3000):
        drawn = [hit for place in rng.integers(0, len(pools), len(pools)) for hit in pools[place]]
        means.append(np.mean(drawn))
    low, high = np.quantile(means, [0.025, 0.975])
    (found,) = Groups(names).intervals(hits.astype(np.float64)[:, None])
    assert found is not None
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)


def test_the_same_every_time_and_in_every_order() -> None:
    names = [f"g{k % 13}" for k in range(130)]
    hits = np.random.default_rng(1).random((130, 2)) < 0.4
    order = np.random.default_rng(2).permutation(130)
    one = Groups(names).intervals(hits.astype(np.float64))
    assert one == Groups(names).intervals(hits.astype(np.float64))
    assert one == Groups([names[k] for k in order]).intervals(hits[order].astype(np.float64))


def test_all_or_none_say_nothing() -> None:
    groups = Groups(["a", "a", "b", "b"])
    assert groups.intervals(np.array([[0.0, 1.0]] * 4)) == [None, None]
    hits = np.zeros((4, 1), dtype=np.bool_)
    assert groups.rates(hits, ~hits) == [rate(0, 4)]
    assert Groups(["a", "a"]).intervals(np.array([[0.0], [1.0]])) == [None]
    assert Groups([]).intervals(np.zeros((0, 2))) == [None, None]


def test_clips_not_counted_are_not_there() -> None:
    names = [f"g{k % 20}" for k in range(200)]
    values = (np.random.default_rng(3).random((200, 1)) < 0.5).astype(np.float64)
    values[::3] = np.nan
    (found,) = Groups(names).intervals(values)
    mean = float(np.nanmean(values))
    assert found is not None
    assert found.low < mean < found.high


def test_every_clip_alone_needs_no_resampling() -> None:
    hits = np.array([[True], [False], [True]])
    assert Groups(["a", "b", "c"]).rates(hits, np.ones((3, 1), np.bool_)) == [rate(2, 3)]


def test_it_covers_where_wilson_does_not() -> None:
    """60 groups of 5 clips that go together, 300 times: Wilson's interval misses far more often."""
    rng = np.random.default_rng(4)
    names = [f"g{k // 5}" for k in range(300)]
    ease = np.repeat(rng.beta(1.2, 2.4, size=(60, 300)), 5, axis=0)
    hits = rng.random((300, 300)) < ease
    truth = 1.2 / 3.6
    rates = Groups(names).rates(hits, np.ones_like(hits))
    by_group = sum(
        each.by_group is not None and each.by_group.low <= truth <= each.by_group.high for each in rates
    )
    wilson = sum((each.low or 0) <= truth <= (each.high or 0) for each in rates)
    assert by_group / 300 >= 0.91
    assert wilson / 300 <= 0.86


def test_a_whole_audit_takes_moments() -> None:
    rng = np.random.default_rng(5)
    groups = Groups([f"g{k}" for k in rng.integers(0, 1000, 3783)])
    values = (rng.random((3783, 80)) < 0.4).astype(np.float64)
    start = time.perf_counter()
    groups.intervals(values)
    assert time.perf_counter() - start < 5
