"""The loop itself: iterates step by step, pieces, random starts, and kinds that it has never heard of."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from multav import parse_attack
from multav.attacks.balls import Linf
from multav.attacks.catalogue import ATTACKS
from multav.attacks.regions import Region
from multav.attacks.rules import Additive, Distance, Multiplicative, Ratio, Rule
from multav.attacks.spec import AttackSpec
from multav.gradient_loop import Evaluation, ascend
from multav.randomness import Draws

torch.set_num_threads(1)
KINDS = list(ATTACKS)


@dataclass
class Wave:
    """A loss whose gradient cos(phase + 3 x) changes sign on the way; remembers where it was evaluated."""

    phase: Tensor
    seen: list[Tensor] = field(default_factory=list)
    scored: list[Tensor] = field(default_factory=list)

    def __call__(self, clips: Tensor) -> Evaluation:
        self.seen.append(clips.clone())
        losses, logits = self._losses(clips)
        return Evaluation(losses, logits, (self.phase + 3 * clips).cos() * 3)

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        self.scored.append(clips.clone())
        return self._losses(clips)

    def _losses(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        losses = (self.phase + 3 * clips).sin().flatten(1).sum(1)
        return losses, torch.stack([-losses, losses], dim=1)


def wave(clips: Tensor) -> Wave:
    phase = torch.rand(clips.shape, generator=torch.Generator().manual_seed(5), dtype=clips.dtype)
    return Wave(phase * 2 * torch.pi)


def clips_of(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    clips = torch.rand(shape, generator=torch.Generator().manual_seed(11), dtype=dtype)
    clips.view(-1)[::17], clips.view(-1)[::23] = 0, 1
    return clips


def iterates(kind: str, phase: NDArray[Any], x0: NDArray[Any], spec: AttackSpec) -> list[NDArray[Any]]:
    """x^0 .. x^T by equations 1 and 3, in numpy."""
    x, path = x0, [x0]
    for _ in range(spec.steps):
        sign = np.sign(np.cos(phase + 3 * x)) * (-1 if spec.targeted else 1)
        if kind == "multav-linf":
            x = np.clip(x * spec.step_size**sign, x0 / spec.epsilon, x0 * spec.epsilon)
        else:
            x = np.clip(x + spec.step_size * sign, x0 - spec.epsilon, x0 + spec.epsilon)
        x = np.clip(x, 0, 1)
        path.append(x)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targeted", [False, True])
# The last shape fills several pieces and a remainder.
@pytest.mark.parametrize("shape", [(2, 3, 1, 1, 1), (2, 3, 4, 5, 7), (2, 3, 5, 61, 67)])
def test_every_iterate_follows_the_equation(kind: str, targeted: bool, shape: tuple[int, ...]) -> None:
    clips, attack = clips_of(*shape), parse_attack({"kind": kind, "steps": 7, "targeted": targeted})
    objective = wave(clips)
    ascent = ascend(objective, clips, attack)
    path = iterates(kind, objective.phase.numpy(), clips.numpy(), attack)
    walked = [*objective.seen, ascent.clips]
    assert len(walked) == len(path) == 8
    for step, (mine, theirs) in enumerate(zip(walked, path, strict=True)):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=0, atol=1e-12, err_msg=f"step {step}")
    assert [each.equal(ascent.clips) for each in objective.scored] == [True]
    for step, adversarial in enumerate(walked):
        assert ascent.losses[step].equal(objective.score(adversarial)[0])
    assert ascent.logits.equal(objective.score(ascent.clips)[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("random_start", [False, True])
def test_the_bound_is_exact_in_float32(kind: str, random_start: bool) -> None:
    clips = clips_of(2, 3, 5, 61, 67, dtype=torch.float32)
    attack = parse_attack({"kind": kind, "steps": 6, "random_start": random_start})
    objective = wave(clips)
    ascent = ascend(objective, clips, attack)
    for adversarial in [*objective.seen, ascent.clips]:
        if kind == "multav-linf":
            low, high = clips / attack.epsilon, clips * attack.epsilon
        else:
            low, high = clips - attack.epsilon, clips + attack.epsilon
        assert ((low <= adversarial) & (adversarial <= high)).all()
        assert ((adversarial >= 0) & (adversarial <= 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_random_start_is_uniform_in_the_bound(kind: str) -> None:
    clips = clips_of(2, 3, 4, 50, 50).mul_(0.5).add_(0.2)
    attack = parse_attack({"kind": kind, "random_start": True, "steps": 1})
    objective = wave(clips)
    ascend(objective, clips, attack, seed=9)
    start = objective.seen[0]
    if kind == "multav-linf":
        share = (start / clips).log() / np.log(attack.epsilon)
    else:
        share = (start - clips) / attack.epsilon
    quantiles = torch.quantile(share.flatten(), torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64))
    expected = torch.tensor([-1, -0.8, 0.0, 0.8, 1], dtype=torch.float64)
    torch.testing.assert_close(quantiles, expected, atol=0.02, rtol=0)
    assert not start[0].equal(start[1])


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_of_clips_and_gradients_do_not_matter(kind: str) -> None:
    clips = clips_of(2, 3, 4, 6, 8)
    before, attack = clips.clone(), parse_attack({"kind": kind, "random_start": True})
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


def test_steps_are_announced_before_they_are_taken() -> None:
    clips = clips_of(1, 3, 2, 3, 3)
    objective, heard = wave(clips), []
    ascend(
        objective,
        clips,
        parse_attack({"kind": "multav-linf", "steps": 3}),
        on_step=lambda step: heard.append((step, len(objective.seen))),
    )
    assert heard == [(0, 0), (1, 1), (2, 2)]


def test_an_undefined_gradient_moves_nothing() -> None:
    class Broken(Wave):
        def __call__(self, clips: Tensor) -> Evaluation:
            found = super().__call__(clips)
            return Evaluation(found.losses, found.logits, torch.full_like(clips, torch.nan))

    clips = clips_of(1, 3, 2, 3, 3)
    for kind in KINDS:
        ascent = ascend(Broken(wave(clips).phase), clips, parse_attack({"kind": kind}))
        assert ascent.clips.equal(clips)


# Another ball, another region: added here as a newcomer would, without a line in the loop.


@dataclass(frozen=True)
class L2:
    """The whole sample's Euclidean norm."""

    name: Literal["l2"] = "l2"
    elementwise: bool = False

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        norms = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1, 1)
        moved: Tensor = rule.move(adversarial, gradient.div_(norms), step_size)
        return moved

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        assert isinstance(rule, Additive)
        change = adversarial - origin
        norms = change.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1, 1)
        return adversarial.copy_(origin + change * (epsilon / norms).clamp_max(1))

    def scatter(self, rule: Rule, adversarial: Tensor, noise: Tensor, epsilon: float) -> Tensor:
        moved: Tensor = rule.move(adversarial, noise, epsilon)
        return moved


class PgdL2(AttackSpec):
    """Equation 2."""

    rule: ClassVar = Additive()
    ball: ClassVar = L2()
    kind: Literal["pgd-l2"] = "pgd-l2"
    epsilon: Distance = 0.5
    step_size: Distance = 0.2


@dataclass(frozen=True)
class GreyRectangle:
    """A square at a random place of every frame, grey at first."""

    size: int
    name: Literal["rectangle"] = "rectangle"

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:  # noqa: ARG002
        batch, _, frames, height, width = clips.shape
        top = draws.integers(height - self.size + 1, (1, frames, 1, 1))
        left = draws.integers(width - self.size + 1, (1, frames, 1, 1))
        rows, columns = torch.arange(height).view(-1, 1), torch.arange(width)
        mask = (rows >= top) & (rows < top + self.size) & (columns >= left) & (columns < left + self.size)
        assert mask.shape == (batch, 1, frames, height, width)
        return mask

    def origin(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        assert mask is not None
        return clips.masked_fill(mask, 0.5)


class MultavGreyRoa(AttackSpec):
    """Equation 3 within rectangles."""

    rule: ClassVar = Multiplicative()
    ball: ClassVar = Linf()
    kind: Literal["grey-roa"] = "grey-roa"
    epsilon: Ratio = 1.7
    step_size: Ratio = 1.3
    size: int = 3

    @property
    def region(self) -> Region:
        return GreyRectangle(self.size)


@pytest.mark.parametrize("random_start", [False, True])
def test_a_new_ball_needs_no_line_in_the_loop(random_start: bool) -> None:
    clips = clips_of(3, 3, 4, 8, 9)
    ascent = ascend(wave(clips), clips, PgdL2(random_start=random_start, steps=6))
    distances = (ascent.clips - clips).flatten(1).norm(dim=1)
    assert (distances <= 0.5 + 1e-9).all()
    assert (distances > 0.3).all()
    assert (ascent.losses[-1] > ascent.losses[0]).all()
    objective = Wave(wave(clips).phase[1:2])
    alone = ascend(objective, clips[1:2], PgdL2(random_start=random_start, steps=6), first_sample=1)
    torch.testing.assert_close(alone.clips, ascent.clips[1:2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("random_start", [False, True])
def test_a_new_region_needs_no_line_in_the_loop(random_start: bool) -> None:
    clips = clips_of(3, 3, 4, 12, 13)
    attack = MultavGreyRoa(random_start=random_start)
    ascent = ascend(wave(clips), clips, attack, seed=2, first_sample=5)
    mask = ascent.mask
    assert mask is not None
    assert mask.dtype == torch.bool
    assert mask.flatten(2).sum(2).eq(4 * 9).all()
    everywhere = mask.expand_as(clips)
    assert ascent.clips[~everywhere].equal(clips[~everywhere])
    inside = ascent.clips[everywhere]
    assert ((inside >= 0.5 / 1.7) & (inside <= 0.5 * 1.7)).all()
    assert (inside != 0.5).any()
    objective = Wave(wave(clips).phase[2:])
    alone = ascend(objective, clips[2:], attack, seed=2, first_sample=7)
    assert alone.clips.equal(ascent.clips[2:])
