"""The two searches for a rectangle against brute force, and a weak spot that both must find."""

from itertools import product

import pytest
import torch
from torch import Tensor

from multav.ascent import ascend
from multav.attacks.regions import Rectangle
from multav.objective import Descent, Evaluation
from multav.randomness import Draws
from tests.multav import laws
from tests.multav.laws import Plane, clips_of, small, wave

torch.set_num_threads(1)


def corners(region: Rectangle, clips: Tensor, objective: object) -> Tensor:
    """Top and left, int64 (B, T, 2)."""
    mask = region.place(clips, Draws(clips, seed=0, first_sample=0), objective)
    return laws.rectangles(mask).reshape(len(clips), clips.shape[2], 2)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("high", "wide"), [(3, 2), (1, 1), (7, 8)])
@pytest.mark.parametrize("targeted", [False, True])
def test_the_exhaustive_search_is_brute_force(high: int, wide: int, stride: int, targeted: bool) -> None:
    clips = clips_of(3, 3, 2, 7, 8)
    objective = wave(clips)
    goal = Descent(objective) if targeted else objective
    found = corners(Rectangle(high, wide, "exhaustive", stride=stride), clips, goal)
    for index in range(3):
        losses = {}
        for top, left in product(range(0, 8 - high, stride), range(0, 9 - wide, stride)):
            covered = clips.clone()
            covered[..., top : top + high, left : left + wide] = 0.5
            losses[top, left] = float(objective.at(covered)[0][index]) * (-1 if targeted else 1)
        best = max(losses, key=lambda at: losses[at])
        assert found[index].tolist() == [list(best)] * 2


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("candidates", [1, 3, 1000])
@pytest.mark.parametrize(("high", "wide"), [(3, 2), (2, 5), (7, 8)])
def test_the_gradient_search_ranks_and_tries(high: int, wide: int, candidates: int, stride: int) -> None:
    clips = clips_of(3, 3, 2, 7, 8)
    objective = wave(clips)
    found = corners(Rectangle(high, wide, "gradient", stride=stride, candidates=candidates), clips, objective)
    gradient = objective(clips).gradient
    places = list(product(range(0, 8 - high, stride), range(0, 9 - wide, stride)))
    for index in range(3):
        # For each frame the places by their sum of squares, best first.
        ranked = [
            sorted(
                places,
                key=lambda at, frame=frame: float(
                    -gradient[index, :, frame, at[0] : at[0] + high, at[1] : at[1] + wide].square().sum()
                ),
            )
            for frame in range(2)
        ]
        losses = []
        for candidate in range(min(candidates, len(places))):
            covered = clips.clone()
            for frame in range(2):
                top, left = ranked[frame][candidate]
                covered[index, :, frame, top : top + high, left : left + wide] = 0.5
            losses.append(float(objective.at(covered)[0][index]))
        best = max(range(len(losses)), key=lambda candidate: losses[candidate])
        assert found[index].tolist() == [list(ranked[frame][best]) for frame in range(2)]


@pytest.mark.parametrize("placement", ["gradient", "exhaustive"])
@pytest.mark.parametrize("kind", ["roa", "multav-roa"])
@pytest.mark.parametrize("spot", [(0, 0), (4, 6), (9, 10), (2, 5)])
def test_a_planted_weak_spot_is_found(placement: str, kind: str, spot: tuple[int, int]) -> None:
    clips = torch.full((2, 3, 3, 12, 13), 0.2)
    weight = torch.full_like(clips, 1e-3)
    top, left = spot
    weight[..., top : top + 3, left : left + 3] = 1
    ascent = ascend(Plane(weight), clips, small(kind, size=3, placement=placement, stride=1))
    mask = ascent.mask
    assert mask is not None
    assert mask[..., top : top + 3, left : left + 3].all()
    drawn = ascend(Plane(weight), clips, small(kind, size=3))
    assert (ascent.losses[-1] > drawn.losses[-1]).all()


def test_the_gradient_search_finds_a_spot_that_moves_from_frame_to_frame() -> None:
    clips = torch.full((1, 3, 4, 12, 13), 0.2)
    weight, spots = torch.full_like(clips, 1e-3), [(0, 0), (9, 10), (3, 7), (5, 1)]
    for frame, (top, left) in enumerate(spots):
        weight[:, :, frame, top : top + 3, left : left + 3] = 1
    found = corners(Rectangle(3, 3, "gradient", candidates=1), clips, Plane(weight))
    assert found[0].tolist() == [list(spot) for spot in spots]


@pytest.mark.parametrize("placement", ["gradient", "exhaustive"])
def test_a_search_draws_nothing_and_minds_no_neighbour(placement: str) -> None:
    clips = clips_of(3, 3, 2, 8, 9)
    region = Rectangle(3, 3, placement, stride=2)
    whole = corners(region, clips, wave(clips))
    for index in range(3):
        objective = wave(clips).select(torch.tensor([index]))
        assert corners(region, clips[index : index + 1], objective)[0].equal(whole[index])
    assert not region.drawn


def test_a_tiny_gradient_is_ranked_as_any() -> None:
    # Its squares vanish in float32.
    clips = torch.full((1, 3, 1, 9, 9), 0.2)
    weight = torch.full_like(clips, 1e-33)
    weight[..., 4:6, 5:7] = 1e-30

    class Faint(Plane):
        def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
            return torch.zeros(len(clips)), torch.zeros(len(clips), 2)

        def __call__(self, clips: Tensor) -> Evaluation:
            return Evaluation(*self.score(clips), self.direction.clone())

    found = corners(Rectangle(2, 2, "gradient", candidates=1), clips, Faint(weight))
    assert found[0, 0].tolist() == [4, 5]
