"""The laws that every attack keeps, over random attacks of every kind with random fields, on random clips."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from multav import parse_attack
from multav.attacks.catalogue import ATTACKS, AnyAttack
from multav.attacks.fixed_step_attack import FixedStepAttack
from tests.multav import laws
from tests.multav.equations import adaptive, euclidean, multiplicative
from tests.multav.laws import LAWS, Law, clips_of, small

torch.set_num_threads(1)
KINDS = list(ATTACKS)
relaxed = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

ratios = st.floats(1, 20, exclude_min=True) | st.floats(1, 1.1, exclude_min=True)
distances = st.floats(0, 1, exclude_min=True)
lengths = st.floats(0.01, 20)


@st.composite
def attacks(draw: st.DrawFn, kind: str, height: int, width: int) -> AnyAttack:
    """An attack whose region fits into frames of height x width."""
    step_sizes = ratios if multiplicative(kind) else lengths if euclidean(kind) else distances
    epsilons = lengths if euclidean(kind) else step_sizes
    body: dict[str, Any] = {"kind": kind, "epsilon": draw(epsilons), "steps": draw(st.integers(1, 5))}
    body |= {"random_start": draw(st.booleans()), "targeted": draw(st.booleans())}
    if adaptive(kind):
        return parse_attack(body | {"steps": draw(st.integers(1, 12)), "momentum": draw(st.floats(0, 0.9))})
    body |= {"step_size": draw(step_sizes), "momentum": draw(st.sampled_from([0.0, 0.5, 1.0]))}
    body["schedule"] = draw(st.sampled_from(["constant", "linear", "cosine"]))
    if kind == "multav-l2":
        body["bound"] = draw(st.sampled_from(["change", "rms", "literal"]))
    if kind == "pgd-l2":
        body["start"] = draw(st.sampled_from(["image", "sphere"]))
    region = kind.removeprefix("multav-")
    if region in ("roa", "af", "spa"):
        body["init"] = draw(st.sampled_from(["clean", "grey", "black"]))
    if region == "roa":
        high, wide = draw(st.integers(1, height)), draw(st.integers(1, width))
        body["size"] = (high, wide)
        body["placement"] = draw(st.sampled_from(["random", "fixed", "gradient", "exhaustive"]))
        if body["placement"] in ("gradient", "exhaustive"):
            body["stride"] = draw(st.integers(1, 3))
        if body["placement"] == "fixed" and draw(st.booleans()):
            body["position"] = (draw(st.integers(0, height - high)), draw(st.integers(0, width - wide)))
    elif region == "af":
        body["width"] = draw(st.integers(1, min(height, width) // 2))
    elif region == "spa":
        body["pixels"] = draw(st.integers(1, height * width))
    return parse_attack(body)


@st.composite
def scenes(draw: st.DrawFn, kind: str) -> tuple[AnyAttack, Tensor, int]:
    """An attack, clips in float64 and a seed; one frame, one clip and odd sizes among them."""
    batch, frames = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    height, width = draw(st.integers(2, 8)), draw(st.integers(2, 8))
    clips = clips_of(batch, 3, frames, height, width, seed=draw(st.integers(0, 1000)))
    return draw(attacks(kind, height, width)), clips, draw(st.integers(0, 2**40))


@pytest.mark.parametrize("kind", KINDS)
@relaxed
@given(data=st.data())
def test_every_value_keeps_its_bound_and_its_place(data: st.DataObject, kind: str) -> None:
    """In both precisions; the bound is exact in float32, not only up to rounding."""
    attack, clips, seed = data.draw(scenes(kind))
    for same in (clips, clips.float()):
        laws.keeps_the_bound(attack, same, seed)
        laws.stays_in_range(attack, same, seed)
        laws.touches_nothing_outside(attack, same, seed)
        laws.black_stays_black(attack, same, seed)
    laws.region_is_the_named_one(attack, clips, seed)
    laws.projects_once(attack, clips, seed)


@pytest.mark.parametrize("kind", KINDS)
@relaxed
@given(data=st.data())
def test_clips_and_seeds_decide_and_nothing_beside_them(data: st.DataObject, kind: str) -> None:
    attack, clips, seed = data.draw(scenes(kind))
    laws.minds_no_neighbour(attack, clips, seed)
    laws.is_reproducible(attack, clips.float(), seed)
    laws.a_dead_gradient_moves_nothing(attack, clips.float(), seed)


@pytest.mark.parametrize("kind", KINDS)
@relaxed
@given(data=st.data())
def test_every_point_follows_the_equation(data: st.DataObject, kind: str) -> None:
    attack, clips, seed = data.draw(scenes(kind))
    laws.follows_the_equation(attack, clips, seed)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_papers_settings_keep_every_law(law: Law, kind: str, targeted: bool) -> None:
    clips = clips_of(3, 3, 4, 9, 11)
    law(small(kind, targeted=targeted), clips)
    law(small(kind, targeted=targeted, random_start=True), clips)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("random_start", [False, True])
def test_the_bound_is_exact_on_clips_of_many_pieces(kind: str, random_start: bool) -> None:
    clips = clips_of(2, 3, 5, 61, 67, dtype=torch.float32)
    attack = small(kind, steps=6, random_start=random_start)
    laws.keeps_the_bound(attack, clips)
    laws.stays_in_range(attack, clips)
    laws.follows_the_equation(attack, clips)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiny_gradient_moves_as_any(kind: str) -> None:
    laws.a_tiny_gradient_moves_as_any(small(kind), clips_of(2, 3, 3, 8, 9, dtype=torch.float32))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.endswith(("roa", "spa"))])
def test_frames_draw_on_their_own(kind: str) -> None:
    laws.frames_draw_on_their_own(small(kind), clips_of(3, 3, 6, 12, 13))


@pytest.mark.parametrize(
    "kind", [kind for kind, spec in ATTACKS.items() if issubclass(spec, FixedStepAttack)]
)
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("momentum", [0.0, 0.75, 1.0])
def test_momentum_and_schedule_follow_the_equation(kind: str, schedule: str, momentum: float) -> None:
    clips = clips_of(2, 3, 2, 7, 6)
    attack = small(kind, schedule=schedule, momentum=momentum, steps=7)
    laws.follows_the_equation(attack, clips)
    laws.climbs(attack, clips)


@pytest.mark.parametrize("init", ["clean", "grey", "black"])
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.endswith(("roa", "af", "spa"))])
def test_replaced_pixels_are_the_centre_of_the_bound(kind: str, init: str, random_start: bool) -> None:
    clips = clips_of(2, 3, 3, 9, 8)
    attack = small(kind, init=init, random_start=random_start)
    laws.follows_the_equation(attack, clips)
    laws.keeps_the_bound(attack, clips.float())
    laws.touches_nothing_outside(attack, clips.float())
    if init == "black" and multiplicative(kind):
        laws.black_stays_black(attack, clips)


@pytest.mark.parametrize("bound", ["change", "rms", "literal"])
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("epsilon", [0.05, 2.0, 160.0])
def test_every_reading_of_the_l2_ratio(bound: str, random_start: bool, epsilon: float) -> None:
    clips = clips_of(3, 3, 4, 9, 11)
    attack = small("multav-l2", bound=bound, random_start=random_start, epsilon=epsilon)
    laws.follows_the_equation(attack, clips)
    laws.keeps_the_bound(attack, clips.float())
    laws.projects_once(attack, clips)


def test_the_literal_reading_darkens_and_the_others_do_not() -> None:
    # 16 frames: the norm of an unchanged clip is the root of its number of values (paper-facts B2).
    clips = torch.full((1, 3, 16, 112, 112), 0.5)
    darkened = {
        bound: float(laws.walk(small("multav-l2", bound=bound, steps=1), clips)[2].clips.mean())
        for bound in ("change", "rms", "literal")
    }
    assert darkened["literal"] == pytest.approx(0.5 * 161 / 776.0, rel=1e-3)
    assert darkened["change"] == pytest.approx(0.5, abs=1e-3)
    assert darkened["rms"] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("start", ["image", "sphere"])
def test_a_pgd_l2_start_lies_on_the_edge(start: str) -> None:
    clips = clips_of(3, 3, 8, 20, 20).mul_(0.2).add_(0.4)
    attack = small("pgd-l2", start=start, epsilon=2.0, random_start=True, steps=1)
    first = laws.walk(attack, clips)[1][0]
    lengths = (first - clips).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 2.0))
    assert not first[0].equal(first[1])
    if start == "sphere":
        # As likely up as down, and no value sticks out of a uniform direction.
        assert abs(float((first - clips).sign().mean())) < 0.05
        assert float((first - clips).abs().max()) < 2 * 6 / clips[0].numel() ** 0.5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("l2")])
def test_a_random_start_is_uniform_in_the_bound(kind: str) -> None:
    clips = clips_of(2, 3, 4, 50, 50).mul_(0.05).add_(0.2)
    region = {"size": 40, "width": 20, "pixels": 2000}
    epsilon = {"epsilon": 1.5 if multiplicative(kind) else 0.2}
    fields = {name: value for name, value in region.items() if name in ATTACKS[kind].model_fields}
    attack = parse_attack({"kind": kind, "random_start": True, "steps": 1, **epsilon, **fields})
    _, points, ascent = laws.walk(attack, clips, seed=9)
    inside = laws.everywhere(ascent.mask, clips)
    if multiplicative(kind):
        share = (points[0] / clips).log() / torch.tensor(attack.epsilon).log()
    else:
        share = (points[0] - clips) / attack.epsilon
    quantiles = torch.quantile(share[inside], torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64))
    expected = torch.tensor([-1, -0.8, 0.0, 0.8, 1], dtype=torch.float64)
    torch.testing.assert_close(quantiles, expected, atol=0.02, rtol=0)
    assert points[0][~inside].equal(clips[~inside])
    assert not points[0][0].equal(points[0][1])
