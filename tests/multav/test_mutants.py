"""Deliberate breakages of the engine's parts, each caught by a law, and the law passes the sound part.

A mutant is a small ball, rule, region, specification or objective that is handed to the engine as any other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from multav.ascent import ascend
from multav.attacks.balls import L2, Ball, Linf
from multav.attacks.catalogue import ATTACKS
from multav.attacks.multav_linf import MultavLinf
from multav.attacks.pgd_linf import PgdLinf
from multav.attacks.regions import Border, Rectangle, Region, ScatteredPixels
from multav.attacks.rules import Additive, Multiplicative, Rule
from multav.attacks.spec import AttackSpec
from multav.objective import Evaluation
from multav.randomness import Draws
from tests.multav import laws
from tests.multav.laws import LAWS, Law, clips_of, small

torch.set_num_threads(1)


def with_parts(
    kind: str, ball: Ball | None = None, region: Region | None = None, rule: Rule | None = None, **fields: Any
) -> AttackSpec:
    """An attack of `kind` with another ball, region or rule."""
    sound = small(kind, **fields)
    parts: dict[str, Any] = {}
    if ball is not None:
        parts["ball"] = property(lambda _: ball)
    if region is not None:
        parts["region"] = property(lambda _: region)
    if rule is not None:
        parts |= {"rule": rule, "__annotations__": {"rule": ClassVar[Rule]}}
    mutant: type[AttackSpec] = type(f"Mutant{type(sound).__name__}", (type(sound),), parts)
    return mutant.model_validate(sound.model_dump())


# Balls.


class StepDown(Linf):
    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        return super().step(rule, adversarial, gradient.neg_(), step_size)


class Wider(Linf):
    """Lets values go one per cent too far."""

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        return super().project(rule, adversarial, origin, epsilon * 1.01)


class Tighter(Linf):
    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        return super().project(rule, adversarial, origin, rule.part(epsilon, 0.99))


class AroundTheLastPoint(Linf):
    """Bounds each step around x^t instead of x^0."""

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:  # noqa: ARG002
        return adversarial


class Unbounded(Linf):
    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:  # noqa: ARG002
        return adversarial


class FullStepOnZero(Linf):
    """Where the gradient is 0 the step is alpha, not 1."""

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        return super().step(rule, adversarial, gradient + (gradient == 0), step_size)


class NoSign(Linf):
    """The gradient itself, not its sign."""

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        return rule.move(adversarial, gradient, step_size)


class FarStart(Linf):
    """Random starts beyond the bound; they are projected, so that they lie on its edges."""

    def scatter(self, rule: Rule, adversarial: Tensor, noise: Tensor, epsilon: float) -> Tensor:
        return rule.move(adversarial, noise.mul_(3), epsilon)


class FarStartUnprojected(FarStart):
    """And nothing draws them back."""

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        near = super().project(rule, adversarial.clone(), origin, epsilon)
        inside = (adversarial / origin).log().abs() < 1.5 * log(epsilon)
        return adversarial.copy_(torch.where(inside, near, adversarial))


class OneNormForAll(L2):
    """The norm of the batch, not of each clip."""

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        return rule.move(adversarial, gradient / gradient.norm(), step_size)


class OneBallForAll(L2):
    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        change = rule.displacement(adversarial, origin)
        return adversarial.copy_(rule.displaced(origin, change * (epsilon / change.norm()).clamp_max(1)))


class AdditiveBall(L2):
    """Bounds x' - x whatever the rule."""

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:  # noqa: ARG002
        return super().project(Additive(), adversarial, origin, epsilon)


class AlwaysOnTheSphere(L2):
    """Draws what lies within the ball out to its edge."""

    def project(self, rule: Rule, adversarial: Tensor, origin: Tensor, epsilon: float) -> Tensor:
        change = rule.displacement(adversarial, origin)
        norm = change.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, 1, 1, 1, 1)
        return adversarial.copy_(rule.displaced(origin, change * epsilon / norm))


class SinglePrecisionNorm(L2):
    """Squares of small gradients vanish."""

    def step(self, rule: Rule, adversarial: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        norm = gradient.flatten(1).square().sum(1).sqrt().clamp_min(1e-20).reshape(-1, 1, 1, 1, 1)
        return rule.move(adversarial, gradient / norm, step_size)


# Rules.


@dataclass(frozen=True)
class Lighting(Multiplicative):
    """A multiplication that adds a little, so that black does not stay black."""

    def within(self, clip: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        return clip / epsilon, clip * epsilon + 1e-9

    def move_by_sign(self, adversarial: Tensor, sign: Tensor, step_size: float) -> Tensor:
        return super().move_by_sign(adversarial, sign, step_size).add_(sign, alpha=1e-9)


@dataclass(frozen=True)
class LinearDown(Multiplicative):
    """x * (2 - alpha) instead of x / alpha."""

    def move_by_sign(self, adversarial: Tensor, sign: Tensor, step_size: float) -> Tensor:
        return adversarial.mul_(sign.mul_(step_size - 1).add_(1))


@dataclass(frozen=True)
class LinearShare(Multiplicative):
    """A share of the factor's excess, not a power of the factor."""

    def part(self, step_size: float, share: float) -> float:
        return 1 + (step_size - 1) * share


# Regions.


class WholeFrame(Border):
    """The mask is ignored."""

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:
        return torch.ones_like(super().place(clips, draws, objective))


class OpenRing(Border):
    """The last row is missing."""

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:
        mask: Tensor = super().place(clips, draws, objective)
        mask[..., -1, :] = False
        return mask


class ShiftedOutside(Rectangle):
    """The mask that is reported is not the one that was attacked: it is altered afterwards, in place."""

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:
        mask: Tensor = super().place(clips, draws, objective)
        mask[..., 0] = True
        return mask


class SameInAllFrames(Rectangle):
    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:
        mask: Tensor = super().place(clips, draws, objective)
        return mask[:, :, :1].expand_as(mask).contiguous()


class FirstClipForAll(Rectangle):
    """All clips of a batch get the place of the first."""

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:
        mask: Tensor = super().place(clips, draws, objective)
        return mask[:1].expand_as(mask).contiguous()


class NeverLast(Rectangle):
    """The authors' off-by-one: the last row and column of places are never drawn."""

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:  # noqa: ARG002
        frames, height, width = clips.shape[2:]
        tops = draws.integers(height - self.height, (frames,))
        return self.at(tops, draws.integers(width - self.width, (frames,)), height, width)


class Global(Rectangle):
    """Draws from the global generator."""

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:  # noqa: ARG002
        batch, _, frames, height, width = clips.shape
        tops = torch.randint(height - self.height + 1, (batch, frames))
        return self.at(tops, torch.randint(width - self.width + 1, (batch, frames)), height, width)


class RoundedUp(Rectangle):
    """Enlarged to the next whole pixel, so that it no longer fits."""

    def enlarged(self, factor: float) -> "RoundedUp":
        return replace(self, height=int(self.height * factor) + 1, width=int(self.width * factor) + 1)


class WithDuplicates(ScatteredPixels):
    """Pixels are drawn one by one, and some twice."""

    def place(self, clips: Tensor, draws: Draws, objective: Any) -> Tensor:  # noqa: ARG002
        batch, _, frames, height, width = clips.shape
        chosen = draws.integers(height * width, (frames, self.count))
        mask = clips.new_zeros((batch, frames, height * width)).scatter_(2, chosen, 1).bool()
        return mask.reshape(batch, 1, frames, height, width)


# Specifications.


class NoLastClamp(PgdLinf):
    """[0, 1] is forgotten."""

    def project(self, adversarial: Tensor, origin: Tensor) -> Tensor:
        return self.ball.project(self.rule, adversarial, origin, self.epsilon)


class NoSchedule(MultavLinf):
    def share(self, step: int) -> float:  # noqa: ARG002
        return 1.0


class LateSchedule(MultavLinf):
    """One step behind."""

    def share(self, step: int) -> float:
        return super().share(max(0, step - 1))


# Regions and objectives that break a law of their own, as functions that fail.


def batch_mean(kind: str) -> None:
    """The mean over the batch, not the sum: a small gradient vanishes in a large batch."""
    laws_of_a_sum(kind, mean=True)


def laws_of_a_sum(kind: str, *, mean: bool = False) -> None:
    """What craft's own test does with a model, with an objective: a neighbour must not make a gradient smaller."""
    clips = torch.full((512, 3, 1, 6, 6), 0.5)

    @dataclass
    class Faint(laws.Plane):
        def __call__(self, clips: Tensor) -> Evaluation:
            found = super().__call__(clips)
            return replace(found, gradient=found.gradient / (len(clips) if mean else 1))

    ascent = ascend(Faint(torch.full_like(clips, 1e-43)), clips, small(kind))
    assert (ascent.clips > clips).any(1).flatten(1).any(1).all(), "the batch swallowed the gradient"


def place_number(mask: Tensor) -> Tensor:
    corners = laws.rectangles(mask)
    return corners[:, 0] * 4 + corners[:, 1]


def likely(region: Region) -> None:
    laws.every_place_is_as_likely(region, 5, 6, 12, place_number)


MUTANTS: list[tuple[str, AttackSpec, AttackSpec, Law]] = [
    (name, with_parts(kind, **parts, **fields), small(kind, **fields), law)
    for name, kind, parts, fields, law in (
        ("the step goes down", "multav-linf", {"ball": StepDown()}, {}, laws.climbs),
        (
            "the step goes down, toward a target",
            "pgd-linf",
            {"ball": StepDown()},
            {"targeted": True},
            laws.climbs,
        ),
        ("the bound is 1 % too wide", "multav-linf", {"ball": Wider()}, {}, laws.keeps_the_bound),
        ("the bound is 1 % too wide, additive", "pgd-linf", {"ball": Wider()}, {}, laws.keeps_the_bound),
        ("the bound is 1 % too tight", "multav-linf", {"ball": Tighter()}, {}, laws.follows_the_equation),
        ("bounded around x^t", "multav-linf", {"ball": AroundTheLastPoint()}, {}, laws.keeps_the_bound),
        ("not bounded at all", "multav-af", {"ball": Unbounded()}, {}, laws.keeps_the_bound),
        (
            "alpha where the gradient is 0",
            "multav-linf",
            {"ball": FullStepOnZero()},
            {},
            laws.a_dead_gradient_moves_nothing,
        ),
        (
            "alpha where the mask is 0",
            "multav-roa",
            {"ball": FullStepOnZero()},
            {},
            laws.touches_nothing_outside,
        ),
        ("the gradient and not its sign", "pgd-linf", {"ball": NoSign()}, {}, laws.follows_the_equation),
        (
            "a random start beyond the bound",
            "multav-linf",
            {"ball": FarStartUnprojected()},
            {"random_start": True},
            laws.keeps_the_bound,
        ),
        ("a norm over the batch", "pgd-l2", {"ball": OneNormForAll()}, {}, laws.minds_no_neighbour),
        (
            "a ball over the batch",
            "pgd-l2",
            {"ball": OneBallForAll()},
            {"epsilon": 1.5},
            laws.minds_no_neighbour,
        ),
        ("always out to the sphere", "pgd-l2", {"ball": AlwaysOnTheSphere()}, {}, laws.projects_once),
        (
            "a norm in single precision",
            "pgd-l2",
            {"ball": SinglePrecisionNorm()},
            {},
            laws.a_tiny_gradient_moves_as_any,
        ),
        (
            "additive l2 under multiplication",
            "multav-l2",
            {"ball": AdditiveBall()},
            {"epsilon": 0.5},
            laws.keeps_the_bound,
        ),
        ("black lights up", "multav-linf", {"rule": Lighting()}, {}, laws.black_stays_black),
        ("down is 2 - alpha", "multav-linf", {"rule": LinearDown()}, {}, laws.follows_the_equation),
        (
            "shares are no powers",
            "multav-linf",
            {"rule": LinearShare()},
            {"schedule": "linear"},
            laws.follows_the_equation,
        ),
        (
            "addition for multiplication",
            "multav-linf",
            {"rule": Additive()},
            {"epsilon": 1.04},
            laws.keeps_the_bound,
        ),
        ("the mask is ignored", "af", {"region": WholeFrame(2)}, {}, laws.region_is_the_named_one),
        ("the ring is open", "multav-af", {"region": OpenRing(2)}, {}, laws.region_is_the_named_one),
        ("another rectangle", "roa", {"region": ShiftedOutside(3, 2)}, {}, laws.region_is_the_named_one),
        (
            "one place for all frames",
            "roa",
            {"region": SameInAllFrames(3, 2)},
            {},
            laws.frames_draw_on_their_own,
        ),
        ("one place for all clips", "roa", {"region": FirstClipForAll(3, 2)}, {}, laws.minds_no_neighbour),
        ("the global generator", "roa", {"region": Global(3, 2)}, {}, laws.is_reproducible),
        (
            "pixels drawn twice",
            "spa",
            {"region": WithDuplicates(40)},
            {"pixels": 40},
            laws.region_is_the_named_one,
        ),
    )
]
MUTANTS += [
    (name, mutant.model_validate(sound.model_dump()), sound, law)
    for name, mutant, sound, law in (
        ("no last clamp", NoLastClamp, small("pgd-linf", epsilon=0.3, step_size=0.1), laws.stays_in_range),
        ("no schedule", NoSchedule, small("multav-linf", schedule="cosine"), laws.follows_the_equation),
        ("a late schedule", LateSchedule, small("multav-linf", schedule="linear"), laws.follows_the_equation),
    )
]


def clips_for(law: Law) -> Tensor:
    single = law is laws.a_tiny_gradient_moves_as_any
    return clips_of(3, 3, 6, 9, 11, dtype=torch.float32 if single else torch.float64)


@pytest.mark.parametrize(
    ("mutant", "sound", "law"), [each[1:] for each in MUTANTS], ids=[each[0] for each in MUTANTS]
)
def test_a_mutant_is_caught_and_the_sound_one_is_not(mutant: AttackSpec, sound: AttackSpec, law: Law) -> None:
    law(sound, clips_for(law))
    with pytest.raises(AssertionError):
        law(mutant, clips_for(law))


FUNCTIONS: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
    (
        "a mean over the batch",
        lambda: laws_of_a_sum("multav-linf", mean=True),
        lambda: laws_of_a_sum("multav-linf"),
    ),
    (
        "the last row and column are never drawn",
        lambda: likely(NeverLast(3, 3)),
        lambda: likely(Rectangle(3, 3)),
    ),
    (
        "enlarged to the next pixel",
        lambda: laws.fits_when_enlarged(RoundedUp(9, 12), 9, 12, 2.5),
        lambda: laws.fits_when_enlarged(Rectangle(9, 12), 9, 12, 2.5),
    ),
]


@pytest.mark.parametrize(
    ("mutant", "sound"), [each[1:] for each in FUNCTIONS], ids=[each[0] for each in FUNCTIONS]
)
def test_a_mutant_of_another_law_is_caught(mutant: Callable[[], None], sound: Callable[[], None]) -> None:
    sound()
    with pytest.raises(AssertionError):
        mutant()


def test_every_law_catches_something() -> None:
    assert set(LAWS) <= {law for _, _, _, law in MUTANTS}
    assert {mutant.kind for _, mutant, _, _ in MUTANTS} <= set(ATTACKS)


def test_a_random_start_on_the_edges_is_not_uniform() -> None:
    clips = clips_of(2, 3, 2, 9, 11).clamp(0.3, 0.6)

    def at_the_edge(attack: AttackSpec) -> float:
        share = (laws.walk(attack, clips)[1][0] / clips).log().abs() / log(attack.epsilon)
        return float((share > 0.99).double().mean())

    assert at_the_edge(small("multav-linf", random_start=True)) < 0.05
    assert at_the_edge(with_parts("multav-linf", ball=FarStart(), random_start=True)) > 0.5
