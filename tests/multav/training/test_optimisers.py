"""Learning-rate schedules as functions of the step."""

from math import cos, pi

import pytest
import torch

from multav.training.optimisers import AnySchedule, Constant, Cosine, Multistep, rate_share


def shares(schedule: AnySchedule, steps: int, steps_per_epoch: int = 4) -> list[float]:
    return [
        rate_share(schedule, step, steps=steps, steps_per_epoch=steps_per_epoch) for step in range(steps)
    ]


def test_constant() -> None:
    assert shares(Constant(), 5) == [1.0] * 5
    assert shares(Constant(warm_up=0.4), 10) == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 6])


def test_a_warm_up_that_never_ends_rises_to_the_end() -> None:
    for schedule in (Constant(warm_up=1.0), Cosine(warm_up=1.0), Multistep(warm_up=1.0)):
        assert shares(schedule, 4) == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_the_authors_milestone_falls_behind_the_seventh_epoch() -> None:
    """They step after each epoch, so that epochs 1 to 7 have the whole rate (paper-facts E1)."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimiser, [7], gamma=0.1)
    expected = []
    for _ in range(15):
        expected += [optimiser.param_groups[0]["lr"]] * 4
        optimiser.step()
        theirs.step()
    assert shares(Multistep(), 60) == pytest.approx(expected)
    assert shares(Multistep(), 60).index(0.1) == 28
    assert shares(Multistep(milestones=(6,)), 60).index(0.1) == 24


def test_milestones_in_any_order_and_several() -> None:
    found = shares(Multistep(milestones=(3, 1), gamma=0.5, warm_up=0.125), 16)
    assert found == pytest.approx([1 / 3, 2 / 3, 1, 1, *[0.5] * 8, *[0.25] * 4])


def test_cosine_rises_in_a_line_and_falls_to_its_floor() -> None:
    found = shares(Cosine(warm_up=0.25, floor=0.2), 20)
    assert found[:5] == pytest.approx([number / 6 for number in range(1, 6)])
    assert found[5:] == pytest.approx([0.2 + 0.8 * (1 + cos(pi * number / 15)) / 2 for number in range(15)])
    assert found[5] == 1
    assert all(one > other for one, other in zip(found[5:], found[6:], strict=False))
    assert min(shares(Cosine(), 1000)) < 1e-5
    assert shares(Cosine(), 1) == [1.0]


def test_every_share_is_within_bounds() -> None:
    for steps in (1, 2, 3, 7):
        for warm_up in (0.0, 0.1, 0.5, 0.9, 1.0):
            for schedule in (
                Constant(warm_up=warm_up),
                Multistep(warm_up=warm_up, milestones=(1,)),
                Cosine(warm_up=warm_up, floor=0.3),
            ):
                assert all(0 < share <= 1 for share in shares(schedule, steps, 2))
