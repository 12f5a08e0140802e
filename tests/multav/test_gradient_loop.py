"""The loop itself: layouts, announcements, clips that leave early, and kinds that it has never heard of."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor

from multav.ascent import ascend
from multav.attacks.balls import Ball, Linf
from multav.attacks.catalogue import ATTACKS
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.regions import Region
from multav.attacks.rules import Additive, Distance, Multiplicative, Ratio, Rule
from multav.objective import Evaluation
from multav.randomness import Draws
from tests.multav.laws import Wave, clips_of, small, wave

torch.set_num_threads(1)
KINDS = list(ATTACKS)
STOPPING = [kind for kind, spec in ATTACKS.items() if issubclass(spec, FixedStepAttack)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targeted", [False, True])
def test_losses_and_logits_are_those_of_the_points(kind: str, targeted: bool) -> None:
    clips, attack = clips_of(2, 3, 3, 7, 8), small(kind, steps=7, targeted=targeted)
    objective = wave(clips)
    ascent = ascend(objective, clips, attack)
    assert len(objective.seen) == 7
    assert len(objective.scored) == 1
    for step, point in enumerate([*objective.seen, ascent.clips]):
        assert ascent.losses[step].equal(objective.at(point)[0])
    assert ascent.logits.equal(objective.at(ascent.clips)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_of_clips_and_gradients_do_not_matter(kind: str) -> None:
    clips = clips_of(2, 3, 4, 6, 8)
    before, attack = clips.clone(), small(kind, random_start=True)
    expected = ascend(wave(clips), clips, attack)
    assert clips.equal(before)

    @dataclass
    class Strided(Wave):
        def __call__(self, clips: Tensor) -> Evaluation:
            found = super().__call__(clips)
            strided = found.gradient.to(memory_format=torch.channels_last_3d)
            assert not strided.is_contiguous()
            return Evaluation(found.losses, found.logits, strided)

    for same in (
        clips.to(memory_format=torch.channels_last_3d),
        clips.transpose(3, 4).contiguous().transpose(3, 4),
    ):
        assert not same.is_contiguous()
        ascent = ascend(Strided(wave(clips).phase), same, attack)
        assert ascent.clips.equal(expected.clips)
        assert ascent.losses.equal(expected.losses)
        assert same.equal(before)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_announced_before_they_are_taken(kind: str) -> None:
    clips = clips_of(1, 3, 2, 6, 6)
    objective, heard = wave(clips), []
    ascend(
        objective,
        clips,
        small(kind, steps=3),
        on_step=lambda step: heard.append((step, len(objective.seen))),
    )
    assert heard == [(0, 0), (1, 1), (2, 2)]


def test_an_undefined_gradient_moves_nothing() -> None:
    class Broken(Wave):
        def __call__(self, clips: Tensor) -> Evaluation:
            found = super().__call__(clips)
            return Evaluation(found.losses, found.logits, torch.full_like(clips, torch.nan))

    clips = clips_of(1, 3, 2, 6, 6)
    for kind in KINDS:
        ascent = ascend(Broken(wave(clips).phase), clips, small(kind))
        assert ascent.clips.equal(clips), kind


# Early stop: the losses of a wave pass 0 on the way, where it counts as fooled.


def hard_and_easy(kind: str, **fields: Any) -> tuple[Tensor, Wave, FixedStepAttack]:
    """Clips whose wave is fooled at the start, after a while, and never; and an attack of twelve small steps."""
    clips = torch.full((6, 3, 2, 7, 6), 0.4, dtype=torch.float64)
    depth = torch.tensor([0.3, -0.02, -0.05, -0.1, -0.2, -3], dtype=torch.float64)
    # sin(phase + 3 x) is `depth`, and cos positive.
    phase = depth.clamp(-1, 1).arcsin().reshape(-1, 1, 1, 1, 1).expand_as(clips) - 3 * 0.4
    region: dict[str, Any] = {}
    if kind.endswith("spa"):
        region = {"pixels": 42}
    elif kind.endswith("af"):
        region = {"width": 3}
    elif kind.endswith("roa"):
        region = {"size": (7, 6)}
    step = 0.3 if kind == "pgd-l2" else 1.4 if kind == "multav-l2" else 0.01
    fields = {"step_size": 1.02 if kind.startswith("multav") and not kind.endswith("l2") else step, **fields}
    bound = {} if kind.endswith("l2") else {"epsilon": 1.5 if kind.startswith("multav") else 0.3}
    attack = small(kind, steps=12, **{**region, **bound, **fields})
    assert isinstance(attack, FixedStepAttack)
    return clips, Wave(phase.contiguous()), attack


@pytest.mark.parametrize("kind", STOPPING)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_clip_stays_where_it_first_fooled_the_model(kind: str, momentum: float) -> None:
    clips, objective, attack = hard_and_easy(kind, momentum=momentum)
    full = ascend(objective, clips, attack)
    points = [*objective.seen, full.clips]
    stopping = replace(objective, seen=[], scored=[])
    early = ascend(stopping, clips, attack.model_copy(update={"early_stop": True}))
    firsts = []
    for index in range(len(clips)):
        fooled = (full.losses[:, index] > 0).nonzero()[:, 0]
        first = int(fooled[0]) if len(fooled) else attack.steps
        firsts.append(first)
        torch.testing.assert_close(early.clips[index], points[first][index], rtol=0, atol=1e-13)
        torch.testing.assert_close(early.losses[: first + 1, index], full.losses[: first + 1, index])
        assert (early.losses[first:, index] == early.losses[first, index]).all()
        torch.testing.assert_close(early.losses[-1, index], objective.at(points[first])[0][index])
    # Fooled at once, on the way at several steps, and never: all three are in the batch.
    assert firsts[0] == 0
    assert firsts[-1] == attack.steps
    assert len({first for first in firsts if 0 < first < attack.steps}) >= 2, firsts
    assert (early.losses[-1] > 0).equal((full.losses > 0).any(0))
    # No gradient is spent on a clip that has been fooled.
    still = [sum(first > step for first in firsts) for step in range(attack.steps)]
    assert [len(seen) for seen in stopping.seen] == [len(clips), *still[: attack.steps - 1]]
    torch.testing.assert_close(early.logits[:, 1], early.losses[-1])


@pytest.mark.parametrize("kind", STOPPING)
def test_early_stop_minds_no_neighbour(kind: str) -> None:
    clips, objective, attack = hard_and_easy(kind, early_stop=True, momentum=0.5, random_start=True)
    whole = ascend(objective, clips, attack, seed=3)
    for index in range(len(clips)):
        one = slice(index, index + 1)
        alone = ascend(Wave(objective.phase[one]), clips[one], attack, seed=3, first_sample=index)
        torch.testing.assert_close(alone.clips, whole.clips[one], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.losses, whole.losses[:, one])
        torch.testing.assert_close(alone.logits, whole.logits[one])


@pytest.mark.parametrize("kind", STOPPING)
def test_a_batch_that_is_fooled_at_once_costs_one_gradient(kind: str) -> None:
    clips, objective, attack = hard_and_easy(kind, early_stop=True)
    easy = Wave(objective.phase[:1].expand_as(clips))
    ascent = ascend(easy, clips, attack)
    assert ascent.clips.equal(clips)
    assert (len(easy.seen), len(easy.scored)) == (1, 0)
    assert ascent.losses.shape == (13, 6)
    assert ascent.losses.equal(ascent.losses[:1].expand(13, 6))


def test_early_stop_toward_a_target_stops_where_it_is_reached() -> None:
    clips, objective, attack = hard_and_easy("pgd-linf", early_stop=True, targeted=True)
    # Toward the label: reached where the wave is not fooled, so that only the first clip has to move.
    ascent = ascend(objective, clips, attack)
    assert ascent.clips[1:].equal(clips[1:])
    assert (ascent.losses[-1] <= 0).all()
    assert len(objective.seen) > 2
    assert all(len(seen) == 1 for seen in objective.seen[1:])


# Another ball, another region: added here as a newcomer would, without a line in the loop.


@dataclass(frozen=True)
class L4:
    """The whole sample's 4-norm."""

    name: Literal["l4"] = "l4"
    elementwise: bool = False

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        norms = gradient.flatten(1).norm(p=4, dim=1).clamp_min(1e-12).view(-1, 1, 1, 1, 1)
        moved: Tensor = rule.move(adversarial, gradient.div_(norms), step_size)
        return moved

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        assert isinstance(rule, Additive)
        change = adversarial - origin
        norms = change.flatten(1).norm(p=4, dim=1).clamp_min(1e-12).view(-1, 1, 1, 1, 1)
        return adversarial.copy_(origin + change * (epsilon / norms).clamp_max(1))

    def scatter(self, rule: Rule, adversarial: Tensor, noise: Tensor, epsilon: float) -> Tensor:
        moved: Tensor = rule.move(adversarial, noise, epsilon)
        return moved


class PgdL4(FixedStepAttack):
    """Equation 2 with another norm."""

    rule: ClassVar = Additive()
    kind: Literal["pgd-l4"] = "pgd-l4"
    epsilon: Distance = 0.5
    step_size: Distance = 0.2

    @property
    def ball(self) -> Ball:
        return L4()


@dataclass(frozen=True)
class GreyColumns:
    """A band of columns at a random place of every frame, grey at first."""

    size: int
    name: Literal["columns"] = "columns"
    drawn: Literal[True] = True
    level: float = 0.5

    def enlarged(self, factor: float) -> "GreyColumns":
        return GreyColumns(int(self.size * factor))

    def misfit(self, height: int, width: int) -> tuple[str, str] | None:  # noqa: ARG002
        return None if self.size <= width else ("size", "too wide")

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:  # noqa: ARG002
        batch, _, frames, height, width = clips.shape
        left = draws.integers(width - self.size + 1, (1, frames, 1, 1))
        columns = torch.arange(width)
        mask = (columns >= left) & (columns < left + self.size)
        return mask.expand(batch, 1, frames, height, width)


class MultavGreyColumns(FixedStepAttack):
    """Equation 3 within bands."""

    rule: ClassVar = Multiplicative()
    kind: Literal["grey-columns"] = "grey-columns"
    epsilon: Ratio = 1.7
    step_size: Ratio = 1.3
    size: int = 3

    @property
    def ball(self) -> Ball:
        return Linf()

    @property
    def region(self) -> Region:
        return GreyColumns(self.size)


@pytest.mark.parametrize("random_start", [False, True])
def test_a_new_ball_needs_no_line_in_the_loop(random_start: bool) -> None:
    clips = clips_of(3, 3, 4, 8, 9)
    ascent = ascend(wave(clips), clips, PgdL4(random_start=random_start, steps=6))
    distances = (ascent.clips - clips).flatten(1).norm(p=4, dim=1)
    assert (distances <= 0.5 + 1e-9).all()
    assert (distances > 0.3).all()
    assert (ascent.losses[-1] > ascent.losses[0]).all()
    objective = Wave(wave(clips).phase[1:2])
    alone = ascend(objective, clips[1:2], PgdL4(random_start=random_start, steps=6), first_sample=1)
    torch.testing.assert_close(alone.clips, ascent.clips[1:2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("random_start", [False, True])
def test_a_new_region_needs_no_line_in_the_loop(random_start: bool) -> None:
    clips = clips_of(3, 3, 4, 12, 13)
    attack = MultavGreyColumns(random_start=random_start, restarts=2)
    ascent = ascend(wave(clips), clips, attack, seed=2, first_sample=5)
    mask = ascent.mask
    assert mask is not None
    assert mask.dtype == torch.bool
    assert mask.flatten(2).sum(2).eq(4 * 3 * 12).all()
    everywhere = mask.expand_as(clips)
    assert ascent.clips[~everywhere].equal(clips[~everywhere])
    inside = ascent.clips[everywhere]
    assert ((inside >= 0.5 / 1.7) & (inside <= 0.5 * 1.7)).all()
    assert (inside != 0.5).any()
    objective = Wave(wave(clips).phase[2:])
    alone = ascend(objective, clips[2:], attack, seed=2, first_sample=7)
    assert alone.clips.equal(ascent.clips[2:])
