"""Accuracy against the bound, and the area beneath."""

from math import log

import numpy as np
import pytest

from multav.statistics.cluster_bootstrap import Groups
from multav.statistics.curves import accuracy_curve


def alone(clips: int) -> Groups:
    return Groups([str(clip) for clip in range(clips)])


def test_area_by_hand_over_differences() -> None:
    # Accuracy 1, 1/2, 0 at 0, 1, 3: (1 + 1/2) / 2 * 1 + (1/2 + 0) / 2 * 2 = 1.25, of 3.
    right = np.array([[True, True, False], [True, False, False]])
    found = accuracy_curve([0, 1, 3], right, np.ones_like(right), alone(2), scale="epsilon")
    assert found.area == pytest.approx(1.25 / 3)
    assert found.monotone
    assert [point.accuracy.count for point in found.points] == [2, 1, 0]


def test_area_of_ratios_is_over_their_logarithm() -> None:
    right = np.array([[True, True, False], [True, False, False]])
    found = accuracy_curve([1, 1.02, 1.08], right, np.ones_like(right), alone(2), scale="log(epsilon)")
    a, b = log(1.02), log(1.08)
    assert found.area == pytest.approx((0.75 * a + 0.25 * (b - a)) / b)
    squared = accuracy_curve(
        [1, 1.02**2, 1.08**2], right, np.ones_like(right), alone(2), scale="log(epsilon)"
    )
    assert squared.area == pytest.approx(found.area)


def test_always_right_is_one_and_never_is_nothing() -> None:
    right = np.ones((5, 3), dtype=np.bool_)
    assert accuracy_curve([0, 1, 2], right, right, alone(5), scale="epsilon").area == pytest.approx(1)
    assert accuracy_curve([0, 1, 2], ~right, right, alone(5), scale="epsilon").area == 0


def test_area_is_the_trapezoid_under_the_points() -> None:
    rng = np.random.default_rng(0)
    right = rng.random((500, 4)) < [0.9, 0.7, 0.4, 0.1]
    at = [0.0, 0.1, 0.2, 0.5]
    groups = Groups([f"g{k // 5}" for k in range(500)])
    found = accuracy_curve(at, right, np.ones_like(right), groups, scale="epsilon")
    assert found.area == pytest.approx(np.trapezoid(right.mean(axis=0), at) / 0.5)
    assert found.area_interval is not None
    assert found.area_interval.low < (found.area or 0) < found.area_interval.high


def test_a_rise_is_named_with_its_chance() -> None:
    right = np.array([[True, False, True]] * 8 + [[True, True, True]])
    found = accuracy_curve([0, 1, 2], right, np.ones_like(right), alone(9), scale="epsilon")
    assert not found.monotone
    (rise,) = found.rises
    assert (rise.smaller, rise.larger) == (1, 2)
    assert rise.by == pytest.approx(8 / 9)
    assert rise.p == pytest.approx(2 / 2**8)


def test_clips_without_every_bound_are_not_in_the_area() -> None:
    right = np.array([[True, True], [True, False], [True, False]])
    seen = np.array([[True, True], [True, True], [True, False]])
    found = accuracy_curve([0, 1], right, seen, alone(3), scale="epsilon")
    assert found.clips == 2
    assert found.area == pytest.approx(0.75)
    assert found.points[0].accuracy.of == 3
    assert accuracy_curve([0, 1], right, np.zeros_like(seen), alone(3), scale="epsilon").area is None


@pytest.mark.parametrize("epsilons", [[0.0], [0, 2, 1], [0, 0, 1]])
def test_bounds_must_rise(epsilons: list[float]) -> None:
    right = np.ones((2, len(epsilons)), dtype=np.bool_)
    with pytest.raises(ValueError, match="larger"):
        accuracy_curve(epsilons, right, right, alone(2), scale="epsilon")
