"""From one search to the best of several: restarts, regions from outside, and searches that are not known."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

from multav.ascent import ascend
from multav.attacks.catalogue import ATTACKS
from multav.attacks.regions import Border, Rectangle, origin
from multav.attacks.rules import Additive
from multav.attacks.spec import AttackSpec
from multav.randomness import Draws
from tests.multav.laws import Wave, clips_of, everywhere, small, wave

torch.set_num_threads(1)
KINDS = list(ATTACKS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targeted", [False, True])
def test_restarts_keep_the_best_of_separate_runs(kind: str, targeted: bool) -> None:
    clips = clips_of(5, 3, 2, 7, 8)
    attack = small(kind, restarts=4, random_start=True, targeted=targeted, steps=3)
    objective = wave(clips)
    best = ascend(objective, clips, attack, seed=1)
    # Each run once more by itself: the draws go on where the run before left off.
    draws = Draws(clips, seed=1, first_sample=0)
    runs, masks = [], []
    for run in range(4):
        mask = attack.region.place(clips, draws, objective)
        draws.noise()
        masks.append(mask)
        starts = objective.seen[3 * run : 3 * (run + 1)]
        assert len(starts) == 3
        outside = ~everywhere(mask, clips)
        assert all(point[outside].equal(clips[outside]) for point in starts)
        runs.append((starts, objective.scored[run]))
    way = -1 if targeted else 1
    for index in range(len(clips)):
        ends = []
        for starts, last in runs:
            points = [*starts, last] if kind.startswith("apgd") else [last]
            losses = [float(objective.at(point)[0][index]) for point in points]
            ends.append(max(way * loss for loss in losses))
        ranked = max(range(4), key=lambda run: (ends[run] >= 0 if targeted else ends[run] > 0, ends[run]))
        assert float(best.losses[-1, index]) == pytest.approx(way * ends[ranked], abs=1e-12)
        assert objective.at(best.clips)[0][index] == best.losses[-1, index]
        if best.mask is not None:
            chosen = masks[ranked]
            assert chosen is not None
            assert best.mask[index].equal(chosen[index])
        # The whole trace is that of the chosen run.
        first = objective.at(runs[ranked][0][0])[0][index]
        assert best.losses[0, index] == first
    assert best.logits.equal(objective.at(best.clips)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_fools_comes_before_one_of_a_higher_loss(kind: str) -> None:
    @dataclass
    class Odd(Wave):
        """Fooled where the loss is low, so that the order shows."""

        limit: Tensor = field(default_factory=lambda: torch.zeros(4))

        def fooled(self, logits: Tensor) -> Tensor:
            return logits[:, 1] < self.limit

    clips = clips_of(4, 3, 2, 7, 8)
    # Under APGD's own small bounds the first step ends all six runs at one point.
    wide = {"apgd-ratio": {"epsilon": 3.0}, "apgd-linf": {"epsilon": 0.5}}.get(kind, {})
    attack = small(kind, restarts=6, random_start=True, steps=1, **wide)
    plain = wave(clips)
    ascend(plain, clips, attack)
    ends = torch.stack([plain.at(point)[0] for point in plain.scored])
    if kind.startswith("apgd"):
        firsts = torch.stack([plain.at(point)[0] for point in plain.seen])
        ends = torch.maximum(ends, firsts)
    # Two of the six runs fool.
    odd = Odd(wave(clips).phase, limit=(ends.sort(0).values[1] + ends.sort(0).values[2]) / 2)
    best = ascend(odd, clips, attack)
    torch.testing.assert_close(best.losses[-1], ends.sort(0).values[1])


@pytest.mark.parametrize("kind", ["roa", "multav-spa"])
def test_restarts_of_a_drawn_region_need_no_random_start(kind: str) -> None:
    clips = clips_of(3, 3, 2, 7, 8)
    once = ascend(wave(clips), clips, small(kind))
    best = ascend(wave(clips), clips, small(kind, restarts=8))
    assert (best.losses[-1] >= once.losses[-1]).all()
    assert (best.losses[-1] > once.losses[-1]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_restarts_mind_no_neighbour(kind: str) -> None:
    clips = clips_of(3, 3, 2, 7, 8)
    attack = small(kind, restarts=3, random_start=True, steps=2)
    whole = ascend(wave(clips), clips, attack, seed=5)
    for index in range(3):
        objective = wave(clips).select(torch.tensor([index]))
        alone = ascend(objective, clips[index : index + 1], attack, seed=5, first_sample=index)
        torch.testing.assert_close(alone.clips[0], whole.clips[index], rtol=0, atol=1e-12)


def test_a_region_takes_the_place_of_the_attacks_own() -> None:
    clips = clips_of(2, 3, 2, 12, 14)
    ascent = ascend(wave(clips), clips, small("af"), region=Border(4, "grey"))
    assert ascent.mask is not None
    assert int(ascent.mask[0, 0, 0].sum()) == 12 * 14 - 4 * 6
    moved = ascent.clips != origin(Border(4, "grey"), clips, ascent.mask)
    assert moved[everywhere(ascent.mask, clips)].float().mean() > 0.9


def test_a_region_that_does_not_fit_is_refused_before_any_gradient() -> None:
    clips = clips_of(2, 3, 2, 6, 7)
    objective = wave(clips)
    with pytest.raises(ValueError, match="a rectangle of 30x30 does not fit into frames of 6x7"):
        ascend(objective, clips, small("roa", size=30))
    with pytest.raises(ValueError, match=r"a border of width 10 .* at most 3"):
        ascend(objective, clips, small("af", width=10))
    with pytest.raises(ValueError, match="does not have 100 pixels: at most 42"):
        ascend(objective, clips, small("multav-spa", pixels=100))
    with pytest.raises(ValueError, match="at 4,0 leaves frames of 6x7: top at most 3, left at most 4"):
        ascend(objective, clips, small("roa"), region=Rectangle(3, 3, "fixed", (4, 0)))
    assert not objective.seen


def test_a_kind_without_a_search_is_refused() -> None:
    class Unknown(AttackSpec):
        rule: ClassVar = Additive()
        kind: Literal["unknown"] = "unknown"
        epsilon: float = 0.1

    clips = clips_of(1, 3, 1, 2, 2)
    with pytest.raises(TypeError, match="no search is known for Unknown"):
        ascend(wave(clips), clips, Unknown())
