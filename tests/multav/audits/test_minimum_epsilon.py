"""The smallest bound, where it is known in closed form."""

import math

import pytest
import torch
from torch import Tensor, nn

from multav import parse_attack
from multav.audits.cells import cells, scaled
from multav.audits.evaluation import VideoClips, clean_outcomes
from multav.audits.minimum_epsilon import Search, minimum_epsilon_outcomes, usual_search
from multav.audits.request import AuditRequest


class Line(nn.Module):
    """Two classes: the logit of the first is the weighted sum of all values, that of the second a constant."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(2)
        self.weights = nn.Parameter(torch.rand(3 * 2 * 3 * 3, generator=draw) + 0.5)
        self.threshold = threshold

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 2)."""
        score = clips.flatten(1) @ self.weights - self.threshold
        return torch.stack([score, torch.zeros_like(score)], 1)


def batch(labels: tuple[int, ...]) -> list[VideoClips]:
    """Videos far enough from 0 and 1 that no bound of the tests is cut off there."""
    draw = torch.Generator().manual_seed(1)
    return [
        VideoClips(index, label, torch.rand((1, 3, 2, 3, 3), generator=draw) * 0.3 + 0.3)
        for index, label in enumerate(labels)
    ]


@pytest.mark.parametrize("kind", ["pgd-linf", "multav-linf"])
def test_it_is_the_one_of_the_closed_form(kind: str) -> None:
    net = Line(threshold=19.0)
    videos = batch((0,) * 6)
    attack = {
        "pgd-linf": {"epsilon": 0.2, "step_size": 0.1},
        "multav-linf": {"epsilon": 1.5, "step_size": 1.25},
    }[kind]
    (cell,) = cells([parse_attack({"kind": kind, "early_stop": True, "steps": 8} | attack)])
    search = Search(0.0005, 0.2, 9) if kind == "pgd-linf" else Search(1.001, 1.5, 9)
    clean = clean_outcomes(net, "line", videos)
    rows = minimum_epsilon_outcomes(net, "line", cell, videos, clean, search)
    found = 0
    for row, video in zip(rows, videos, strict=True):
        assert row.cell == f"{kind}@min"
        score = float(video.pixels.double().flatten() @ net.weights.detach().double())
        if score <= net.threshold:
            assert (row.epsilon, row.attacked, row.gradients) == (None, False, 0)
            continue
        if kind == "pgd-linf":
            exact = (score - net.threshold) / float(net.weights.detach().double().sum())
            step, place = 0.2 / 2**9, 1.0
        else:
            # All weights are above 0: every value is divided by epsilon.
            exact = score / net.threshold
            step, place = math.log(1.5) / 2**9, exact
        assert row.epsilon is not None
        assert exact - 1e-6 <= row.epsilon <= exact + 1.05 * step * place + 1e-6
        assert not row.right
        assert row.size is not None
        assert row.size <= row.epsilon * (1 + 1e-6)
        found += 1
    assert found >= 3


def test_nothing_up_to_the_largest_is_none_and_the_row_is_that_of_the_largest() -> None:
    net, videos = Line(threshold=17.0), batch((0, 0))
    (cell,) = cells([parse_attack({"kind": "pgd-linf", "epsilon": 0.01, "step_size": 0.005})])
    rows = minimum_epsilon_outcomes(
        net, "line", cell, videos, clean_outcomes(net, "line", videos), Search(0.001, 0.01, 4)
    )
    for row in rows:
        assert row.epsilon is None
        assert row.right
        assert row.attacked
        assert row.size == pytest.approx(0.01, rel=1e-4)
        assert row.gradients == 5


def test_it_does_not_depend_on_the_batch() -> None:
    net, videos = Line(threshold=19.0), batch((0,) * 5)
    (cell,) = cells([parse_attack({"kind": "multav-linf", "random_start": True, "early_stop": True})])
    clean = clean_outcomes(net, "line", videos)
    search = Search(1.001, 1.5, 5)
    together = minimum_epsilon_outcomes(net, "line", cell, videos, clean, search, seed=3)
    alone = [
        row
        for video in videos
        for row in minimum_epsilon_outcomes(net, "line", cell, [video], clean, search, seed=3)
    ]
    assert [(row.epsilon, row.gradients) for row in together] == [
        (row.epsilon, row.gradients) for row in alone
    ]


@pytest.mark.parametrize(
    ("smallest", "largest", "halvings", "said"),
    [(0.2, 0.1, 3, "nothing lies between"), (0.0, 0.1, 3, "nothing lies"), (0.1, 0.2, 0, "at least 1")],
)
def test_a_search_without_room_is_refused(smallest: float, largest: float, halvings: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Search(smallest, largest, halvings)


def test_the_usual_search_reaches_from_below_the_smallest_to_the_largest() -> None:
    attacks = [parse_attack({"kind": "multav-linf", "epsilon": epsilon}) for epsilon in (1.04, 1.01)]
    search = usual_search(attacks)
    assert search.largest == 1.04
    assert math.log(search.smallest) == pytest.approx(math.log(1.01) / 16)


def test_steps_keep_their_share_also_when_every_default_was_spelled_out() -> None:
    """As a worker reads the audit out of its row: there every field looks as if it had been given."""
    asked = AuditRequest.parse({"attacks": [{"kind": "multav-linf"}, {"kind": "pgd-linf"}]})
    read = AuditRequest.parse(asked.spelled_out().model_dump(mode="json"))
    for cell in read.cells:
        rule, bound = cell.attack.rule, cell.attack.epsilon
        small = scaled(cell.attack, 1 + (bound - 1) / 10 if cell.multiplicative else bound / 10)
        share = rule.coordinate_bound(small.step_size) / rule.coordinate_bound(small.epsilon)
        assert share == pytest.approx(
            rule.coordinate_bound(cell.attack.step_size) / rule.coordinate_bound(bound), rel=1e-9
        )
