"""Paired differences: enumerated by hand, simulated, and against published examples."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.paired import mcnemar, newcombe, paired_difference, paired_differences
from multav.statistics.sign_flips import sign_flip_p

Answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def columns(answers: list[tuple[bool, bool]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array(answers, dtype=np.bool_)
    return pairs[:, 0], pairs[:, 1]


def alone(clips: int) -> Groups:
    return Groups([str(clip) for clip in range(clips)])


@pytest.mark.parametrize("only_first", range(8))
@pytest.mark.parametrize("only_second", range(8))
def test_mcnemar_counts_coins(only_first: int, only_second: int) -> None:
    """All outcomes of the discordant clips at least as lopsided as the one seen."""
    coins = only_first + only_second
    away = abs(only_first - only_second)
    as_bad = sum(comb(coins, k) for k in range(coins + 1) if abs(2 * k - coins) >= away) / 2**coins
    worse = sum(comb(coins, k) for k in range(coins + 1) if abs(2 * k - coins) > away) / 2**coins
    p, mid_p = mcnemar(only_first, only_second)
    assert p == pytest.approx(as_bad)
    assert mid_p == pytest.approx(1.0 if coins == 0 else (as_bad + worse) / 2 if away else 1.0)


def test_mcnemar_as_published() -> None:
    """Fagerland, Lydersen, Laake (2013): 1 and 7 discordant pairs, exact 0.0703 and mid-p 0.0391."""
    p, mid_p = mcnemar(1, 7)
    assert p == pytest.approx(0.0703, abs=5e-5)
    assert mid_p == pytest.approx(0.0391, abs=5e-5)


def test_newcombe_worked_case() -> None:
    """36, 12, 2 and 0 pairs, where the correlation is negative: 0.0569 to 0.3404."""
    found = newcombe(36, 12, 2, 0)
    assert found is not None
    assert found.low == pytest.approx(0.0569, abs=5e-5)
    assert found.high == pytest.approx(0.3404, abs=5e-5)


@pytest.mark.parametrize(
    "counts", [(50, 10, 5, 35), (30, 20, 20, 30), (26, 15, 0, 7), (31, 20, 20, 29), (20, 30, 31, 19)]
)
def test_newcombe_takes_the_corrected_correlation(counts: tuple[int, int, int, int]) -> None:
    """From the answers themselves: their correlation, with n / 2 taken off a positive cross product."""
    both, only_first, only_second, neither = counts
    clips = sum(counts)
    first = np.repeat([1, 1, 0, 0], counts)
    second = np.repeat([1, 0, 1, 0], counts)
    cross = both * neither - only_first * only_second
    phi = np.corrcoef(first, second)[0, 1]
    if cross > 0:
        phi *= max(cross - clips / 2, 0) / cross
    one, other = (
        binomtest(int(each.sum()), clips).proportion_ci(method="wilson") for each in (first, second)
    )
    down = np.array([first.mean() - one.low, other.high - second.mean()])
    up = np.array([one.high - first.mean(), second.mean() - other.low])
    root_of = np.array([[1, -phi], [-phi, 1]])
    found = newcombe(*counts)
    assert found is not None
    difference = first.mean() - second.mean()
    assert found.low == pytest.approx(difference - np.sqrt(down @ root_of @ down))
    assert found.high == pytest.approx(difference + np.sqrt(up @ root_of @ up))


@settings(max_examples=40)
@given(Answers)
def test_exchange_turns_the_sign(answers: list[tuple[bool, bool]]) -> None:
    first, second = columns(answers)
    there, back = (
        paired_difference(first, second, alone(len(first))),
        paired_difference(second, first, alone(len(first))),
    )
    assert there.difference == pytest.approx(-(back.difference or 0))
    assert there.p == pytest.approx(back.p)
    assert there.mid_p == pytest.approx(back.mid_p)
    assert there.newcombe is not None
    assert back.newcombe is not None
    assert there.newcombe.low == pytest.approx(-back.newcombe.high)
    assert there.newcombe.low - 1e-12 <= (there.difference or 0) <= there.newcombe.high + 1e-12
    assert there.mid_p <= there.p


@settings(max_examples=25)
@given(Answers, st.randoms(use_true_random=False))
def test_the_order_of_clips_is_nothing(answers: list[tuple[bool, bool]], random: object) -> None:
    shuffled = list(answers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = paired_difference(*columns(answers), alone(len(answers)))
    assert one == paired_difference(*columns(shuffled), alone(len(answers)))


def test_no_clips_no_difference() -> None:
    found = paired_difference(np.zeros(0, np.bool_), np.zeros(0, np.bool_), Groups([]))
    assert (found.difference, found.newcombe, found.by_group) == (None, None, None)
    assert (found.p, found.p_by_group) == (1, 1)


def test_other_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="same clips"):
        paired_difference(np.zeros(2, np.bool_), np.zeros(3, np.bool_), alone(2))


@settings(max_examples=60)
@given(st.lists(st.integers(-3, 3), max_size=9))
def test_sign_flips_count_every_pattern(differences: list[int]) -> None:
    seen = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((-1, 1), repeat=len(differences))
    ]
    assert sign_flip_p(np.array(differences, dtype=np.int64)) == pytest.approx(
        np.mean([each >= seen for each in sums])
    )


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 40))
def test_groups_of_one_clip_give_mcnemar(only_first: int, only_second: int) -> None:
    differences = np.array([1] * only_first + [-1] * only_second + [0] * 3, dtype=np.int64)
    assert sign_flip_p(differences) == pytest.approx(mcnemar(only_first, only_second)[0])


def test_twenty_copies_of_a_clip_are_one_clip() -> None:
    """McNemar takes copies for evidence; signs of groups do not."""
    first = np.repeat([True, True, True, False], 20)
    second = np.repeat([False, False, False, False], 20)
    found = paired_difference(first, second, Groups([str(k // 20) for k in range(80)]))
    assert found.p < 1e-10
    assert found.p_by_group == pytest.approx(0.25)
    assert found.by_group is not None
    assert found.newcombe is not None
    assert found.by_group.high - found.by_group.low > found.newcombe.high - found.newcombe.low


def test_only_seen_clips_count() -> None:
    rng = np.random.default_rng(0)
    first, second, seen = (rng.random((200, 3)) < share for share in (0.6, 0.4, 0.8))
    groups = [f"g{k // 4}" for k in range(200)]
    for k, found in enumerate(paired_differences(first, second, seen, Groups(groups))):
        kept = np.flatnonzero(seen[:, k])
        by_itself = paired_difference(
            first[kept, k], second[kept, k], Groups([groups[clip] for clip in kept])
        )
        assert (found.both, found.only_first, found.only_second, found.p) == (
            by_itself.both, by_itself.only_first, by_itself.only_second, by_itself.p,
        )  # fmt: skip
        assert found.p_by_group == by_itself.p_by_group


def test_newcombe_covers_and_tests_hold_their_level() -> None:
    """600 pairs of models with equal accuracy, whose answers go together."""
    rng = np.random.default_rng(1)
    common, own = rng.random((600, 120)), rng.random((2, 600, 120))
    first, second = (0.7 * common + 0.3 * each < 0.45 for each in own)
    covered, rejected = 0, 0
    for one, other in zip(first, second, strict=True):
        both, only_first, only_second = (one & other).sum(), (one & ~other).sum(), (~one & other).sum()
        found = newcombe(
            int(both), int(only_first), int(only_second), 120 - int(both + only_first + only_second)
        )
        assert found is not None
        covered += found.low <= 0 <= found.high
        rejected += mcnemar(int(only_first), int(only_second))[0] < 0.05
    assert 0.925 <= covered / 600 <= 0.985
    assert rejected / 600 <= 0.06
