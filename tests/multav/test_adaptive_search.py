"""APGD against an independent version of it, and its own laws: the best point, halving, and what it is for."""

import numpy as np
import pytest
import torch
from torch import nn

from multav import craft, parse_attack
from multav.ascent import ascend
from multav.attacks.rules import Additive, Multiplicative
from tests.multav import laws
from tests.multav.equations import adaptive_iterates, checkpoints
from tests.multav.laws import clips_of, small, wave

torch.set_num_threads(1)
KINDS = ["apgd-ratio", "apgd-linf"]
WIDE = {"apgd-ratio": 3.0, "apgd-linf": 0.6}


def test_the_checkpoints_are_those_of_the_paper() -> None:
    # Croce & Hein, section 3.2, with N = 100.
    assert checkpoints(100)[:8] == [0, 22, 41, 57, 70, 80, 87, 93]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 9, 30, 60])
def test_every_point_is_that_of_the_independent_version(kind: str, targeted: bool, steps: int) -> None:
    clips = clips_of(3, 3, 2, 6, 7)
    for fields in ({"random_start": True}, {"epsilon": WIDE[kind]}, {"momentum": 0.0, "rising": 0.5}):
        attack = small(kind, targeted=targeted, steps=steps, **fields)
        laws.follows_the_equation(attack, clips)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targeted", [False, True])
def test_the_best_point_of_all_is_returned(kind: str, targeted: bool) -> None:
    clips = clips_of(4, 3, 2, 6, 7)
    attack = small(kind, steps=5, epsilon=WIDE[kind], targeted=targeted)
    objective = wave(clips)
    ascent = ascend(objective, clips, attack)
    points = [*objective.seen, *objective.scored]
    assert len(points) == 6
    losses = torch.stack([objective.at(point)[0] for point in points])
    best = losses.min(0) if targeted else losses.max(0)
    assert ascent.losses[-1].equal(best.values)
    assert ascent.losses[-1].equal(objective.at(ascent.clips)[0])
    assert ascent.logits.equal(objective.at(ascent.clips)[1])
    assert ascent.losses[:-1].equal(losses[:-1])
    # It overshoots on the way: the last point is not the best of every clip.
    assert (best.indices < 5).any()


@pytest.mark.parametrize("kind", KINDS)
def test_steps_halve_to_find_a_top_that_fixed_steps_jump_over(kind: str) -> None:
    clips = clips_of(2, 3, 2, 6, 7).clamp(0.3, 0.6)
    objective = wave(clips)
    ascent = ascend(objective, clips, small(kind, steps=60, epsilon=WIDE[kind]))

    def moves(first: int, last: int) -> float:
        pairs = zip(objective.seen[first:last], objective.seen[first + 1 : last + 1], strict=True)
        return max(float((after - before).abs().max()) for before, after in pairs)

    assert moves(50, 59) < moves(0, 9) / 4
    for index in range(2):
        phase, clean = objective.phase[index].numpy(), clips[index].numpy()
        sizes = adaptive_iterates(
            small(kind, steps=60, epsilon=WIDE[kind]).model_dump(),
            clean,
            lambda x, phase=phase: (float(np.sin(phase + 3 * x).sum()), 3 * np.cos(phase + 3 * x)),
        )[2]
        assert sizes[0] / sizes[-1] >= 4
    fixed = {"apgd-ratio": "multav-linf", "apgd-linf": "pgd-linf"}[kind]
    size = {"apgd-ratio": 1.5, "apgd-linf": 0.2}[kind]
    coarse = ascend(wave(clips), clips, small(fixed, steps=60, epsilon=WIDE[kind], step_size=size))
    assert (ascent.losses[-1] > coarse.losses[-1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_step_reaches_the_edge(kind: str) -> None:
    clips = clips_of(2, 3, 2, 6, 7).clamp(0.3, 0.6)
    attack = small(kind, steps=3, epsilon={"apgd-ratio": 1.2, "apgd-linf": 0.1}[kind])
    objective = wave(clips)
    ascend(objective, clips, attack)
    rule = Multiplicative() if kind == "apgd-ratio" else Additive()
    reached = rule.coordinate(objective.seen[1], clips).abs()
    torch.testing.assert_close(reached, torch.full_like(reached, rule.coordinate_bound(attack.epsilon)))


@pytest.mark.parametrize(("kind", "fixed"), [("apgd-ratio", "multav-linf"), ("apgd-linf", "pgd-linf")])
def test_it_is_no_weaker_than_fixed_steps(kind: str, fixed: str, tiny_net: nn.Module) -> None:
    clips = torch.rand(16, 3, 4, 8, 9, generator=torch.Generator().manual_seed(2))
    labels = tiny_net.eval()(clips).argmax(1)
    net = tiny_net.double()
    for epsilon in ({"apgd-ratio": (1.04, 1.2, 1.7), "apgd-linf": (4 / 255, 0.05, 0.2)})[kind]:
        strong = craft(
            net, clips.double(), labels, parse_attack({"kind": kind, "epsilon": epsilon, "steps": 50})
        )
        weak = craft(
            net, clips.double(), labels, parse_attack({"kind": fixed, "epsilon": epsilon, "steps": 50})
        )
        assert float(strong.losses[-1].mean()) >= 0.999 * float(weak.losses[-1].mean())
        fooled, others = (each.logits.argmax(1) != labels for each in (strong, weak))
        assert int(fooled.sum()) >= int(others.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_more_steps_are_never_worse_on_a_plane(kind: str) -> None:
    clips = clips_of(2, 3, 2, 6, 7).clamp(0.3, 0.6)
    direction = torch.randn(clips.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ends = [
        ascend(laws.Plane(direction), clips, small(kind, steps=steps)).losses[-1] for steps in (1, 5, 20, 40)
    ]
    # Already the first step is at the corner where a plane is highest.
    for end in ends:
        torch.testing.assert_close(end, ends[0])
