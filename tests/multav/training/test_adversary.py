"""What the clips of a step are attacked with: ramp, fast training, mixtures, and what stays clean."""

from collections import Counter
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from multav.attacks.catalogue import parse_attack
from multav.clip_attack import craft
from multav.training.adversary import Adversary
from multav.training.batch_part import BatchPart
from multav.training.draws import first_sample
from tests.multav.training.small_trainings import ATTACK, Small, asked, clips_of

PGD = {"kind": "pgd-linf", "epsilon": 0.05, "step_size": 0.02, "steps": 2}
KINDS: dict[str, dict[str, Any]] = {
    "multav-linf": {"epsilon": 1.2, "step_size": 1.1},
    "pgd-linf": {"epsilon": 0.05, "step_size": 0.02},
    "pgd-l2": {"epsilon": 2.0, "step_size": 0.5},
    "multav-l2": {"epsilon": 3.0, "step_size": 2.0},
    "multav-spa": {"epsilon": 1.5, "step_size": 1.2, "pixels": 9},
    "spa": {"epsilon": 0.3, "step_size": 0.1, "pixels": 9},
}


def adversary(steps: int = 100, **fields: Any) -> Adversary:
    return Adversary(asked(**fields), steps)


def coordinates(kind: str, attack: Any) -> tuple[float, float]:
    """Bound and step size where the rule adds: logarithms of ratios (the bound of a change of ratios is a length)."""
    bound = log(attack.epsilon) if kind in ("multav-linf", "multav-spa") else attack.epsilon
    return bound, log(attack.step_size) if kind.startswith("multav") else attack.step_size


@pytest.mark.parametrize("kind", KINDS)
def test_bound_and_step_grow_in_the_coordinate_of_the_rule(kind: str) -> None:
    attack = {"kind": kind, **KINDS[kind]}
    ramping = adversary(attack=attack, ramp=0.5)
    whole = coordinates(kind, parse_attack(attack))
    for step, share in ((0, 1e-3), (1, 0.02), (10, 0.2), (25, 0.5), (49, 0.98), (50, 1), (99, 1)):
        (found,) = ramping.attacks_at(step)
        assert coordinates(kind, found) == pytest.approx([part * share for part in whole])
        assert found.model_dump().keys() == parse_attack(attack).model_dump().keys()
    (found,) = ramping.attacks_at(77)
    assert found == parse_attack(attack)
    (found,) = adversary(attack=attack).attacks_at(0)
    assert found == parse_attack(attack)


def test_a_ramp_shows_in_the_clips() -> None:
    net, (clips, labels) = Small().eval(), clips_of(4)
    ramping = adversary(attack=ATTACK | {"steps": 5}, ramp=1.0)
    for step in (0, 20, 60, 99):
        made = ramping.craft(net, clips, labels, step)
        furthest = float((made / clips).log().abs().max())
        assert furthest == pytest.approx(log(1.2) * max(step / 100, 1e-3), rel=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_fast_takes_one_step_of_one_and_a_quarter_bounds(kind: str) -> None:
    attack = {"kind": kind, "steps": 7, **KINDS[kind]}
    if kind == "pgd-linf":
        attack["restarts"], attack["random_start"] = 3, True
    (found,) = adversary(attack=attack, method="fast").attacks_at(0)
    bound, size = coordinates(kind, found)
    assert (found.steps, found.restarts, found.random_start) == (1, 1, True)
    assert found.epsilon == attack["epsilon"]
    # The edge of a ball of changes of ratios lies at the factor 1 + epsilon.
    assert size == pytest.approx(1.25 * (log(1 + attack["epsilon"]) if kind == "multav-l2" else bound))


@pytest.mark.parametrize("kind", ["multav-linf", "pgd-linf", "pgd-l2", "multav-l2"])
def test_free_takes_steps_of_the_whole_bound(kind: str) -> None:
    attack = {"kind": kind, "steps": 7, **KINDS[kind]}
    (found,) = adversary(attack=attack, method="free").attacks_at(0)
    bound, size = coordinates(kind, found)
    assert found.epsilon == attack["epsilon"]
    assert size == pytest.approx(log(1 + attack["epsilon"]) if kind == "multav-l2" else bound)
    clips, _ = clips_of(4)
    started = adversary(attack=attack, method="free").anywhere(clips, 3, BatchPart.all_of(4))
    assert not (started == clips).flatten(1).all(1).any()
    assert found.project(started.clone(), clips).sub(started).abs().max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_fast_stays_within_the_bound_and_starts_anywhere(kind: str) -> None:
    net, (clips, labels) = Small().eval(), clips_of(4)
    heard: list[int] = []
    fast = adversary(attack={"kind": kind, "steps": 7, **KINDS[kind]}, method="fast")
    made = fast.craft(net, clips, labels, 0, heard.append)
    assert heard == [0]
    epsilon = KINDS[kind]["epsilon"]
    if kind in ("multav-linf", "multav-spa"):
        far = (made / clips).log().abs().amax((1, 2, 3, 4)) / log(epsilon)
    elif kind.endswith("l2"):
        moved = (made - clips) / (clips if kind == "multav-l2" else 1)
        far = moved.double().square().sum((1, 2, 3, 4)).sqrt() / epsilon
    else:
        far = (made - clips).abs().amax((1, 2, 3, 4)) / epsilon
    assert (far <= 1 + 1e-5).all()
    assert (far > 0.5).all()
    assert made.min() >= 0
    assert made.max() <= 1
    # Another start at another step: not all values end on the edge of the bound.
    assert not fast.craft(net, clips, labels, 1).equal(made)
    assert fast.craft(net, clips, labels, 0).equal(made)


def mixture(*attacks: dict[str, Any], choice: str) -> dict[str, Any]:
    return {"kind": "mixture", "attacks": list(attacks), "choice": choice}


def test_random_mixtures_depend_on_seed_and_step_alone() -> None:
    spec = mixture(PGD, ATTACK, {"kind": "multav-spa", "pixels": 3}, choice="random")
    one, other = adversary(attack=spec), adversary(attack=spec, batch_size=16, average=0.5)
    drawn = [one.attacks_at(step) for step in range(300)]
    assert all(len(attacks) == 1 for attacks in drawn)
    # In another order, by another training, and after other draws.
    torch.manual_seed(3)
    assert [other.attacks_at(step) for step in reversed(range(300))] == drawn[::-1]
    counts = Counter(attacks[0].kind for attacks in drawn)
    assert set(counts) == {"pgd-linf", "multav-linf", "multav-spa"}
    # A fair lot leaves this once in a million times.
    assert min(counts.values()) > 60
    seeded = adversary(attack=spec, seed=2)
    assert [seeded.attacks_at(step) for step in range(300)] != drawn


def losses_of(net: Small, clips: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return functional.cross_entropy(net(clips).double(), labels, reduction="none")


@pytest.mark.parametrize(
    "attacks",
    [
        (
            PGD | {"epsilon": 0.06},
            ATTACK,
            {"kind": "multav-roa", "size": 4, "epsilon": 1.6, "step_size": 1.4},
        ),
        # Losses that cannot be compared: what a clip counts by is the cross-entropy all the same.
        (PGD | {"epsilon": 0.06}, ATTACK | {"loss": "dlr"}),
        (ATTACK | {"loss": "dlr"}, PGD | {"epsilon": 0.06}),
    ],
)
def test_the_worst_of_a_mixture_is_that_of_the_highest_loss(attacks: tuple[dict[str, Any], ...]) -> None:
    net, (clips, labels) = Small().eval(), clips_of(24)
    # An additive attack does more to dark clips.
    clips = clips * torch.linspace(0.05, 1, 24).reshape(-1, 1, 1, 1, 1)
    made = adversary(attack=mixture(*attacks, choice="worst")).craft(net, clips, labels, 5)
    each = [
        craft(net, clips, labels, parse_attack(attack), seed=1, first_sample=first_sample(5)).clips
        for attack in attacks
    ]
    losses = torch.stack([losses_of(net, points, labels) for points in each])
    chosen = losses.argmax(0)
    for row, place in enumerate(chosen.tolist()):
        assert made[row].equal(each[place][row])
    # Not one for all, else this would say little.
    assert len(set(chosen.tolist())) >= 2


def test_a_share_of_the_batch_stays_clean() -> None:
    """So that every stretch of the batch, which a piece may be, holds as many of them as it can."""
    net, (clips, labels) = Small().eval(), clips_of(8)
    for share, clean in ((0.0, []), (0.25, [3, 7]), (0.5, [1, 3, 5, 7]), (0.8, [1, 2, 3, 5, 6, 7])):
        attacking = adversary(batch_size=8, clean_fraction=share)
        made = attacking.craft(net, clips, labels, 0)
        same = (made == clips).flatten(1).all(1)
        assert same.nonzero()[:, 0].tolist() == clean
        # Shared by ranks, they are the same clips, and the others are attacked as they are in the whole batch.
        given = [range(rank, 8, 3) for rank in range(3)]
        for rank, places in enumerate(given):
            rows = list(places)
            part = attacking.craft(net, clips[rows], labels[rows], 0, part=BatchPart(rank, given))
            torch.testing.assert_close(part, made[rows])
    # As many as in all, however they fall: 0.29 of 100 are 29.
    assert len(adversary(batch_size=100, clean_fraction=0.29).attacked(BatchPart.all_of(100))) == 71


def test_every_piece_has_its_share_of_clean_clips() -> None:
    part = BatchPart.all_of(32)
    attacked = set(adversary(batch_size=32, clean_fraction=0.25).attacked(part))
    for most in (2, 4, 8):
        assert {sum(row not in attacked for row in range(32)[piece]) for piece in part.pieces(most)} == {
            8 // most
        }


def test_no_two_steps_draw_the_same() -> None:
    assert len({first_sample(step) + clip for step in range(3) for clip in range(4096)}) == 3 * 4096
    net, (clips, labels) = Small().eval(), clips_of(2)
    attacking = adversary(attack=ATTACK | {"random_start": True, "steps": 1})
    one, other = (attacking.craft(net, clips, labels, step) for step in (0, 1))
    assert not one.equal(other)
    assert (
        not adversary(attack=ATTACK | {"random_start": True, "steps": 1}, seed=9)
        .craft(net, clips, labels, 0)
        .equal(one)
    )


def test_the_model_is_given_back_in_its_mode() -> None:
    net, (clips, labels) = Small(), clips_of(2)
    for mode in (True, False):
        net.train(mode)
        adversary().craft(net, clips, labels, 0)
        assert net.training is mode


@pytest.mark.parametrize("kind", KINDS)
def test_trades_leads_answers_away_from_the_clean_ones(kind: str) -> None:
    """Whatever the labels are; and further than the attack's own loss does, or as far."""
    net, (clips, labels) = Small().eval(), clips_of(6)
    body = {"kind": kind, **KINDS[kind], "steps": 6}

    def apart(made: Tensor) -> Tensor:
        before, after = (net(each).double().log_softmax(1) for each in (clips, made))
        return (before.exp() * (before - after)).sum(1).detach()

    away = adversary(attack=body, method="trades")
    found = away.craft(net, clips, labels, 0)
    assert found.equal(away.craft(net, clips, (labels + 1) % 3, 0))
    by_loss = adversary(attack=body, method="trades", crafting="loss")
    assert not by_loss.craft(net, clips, labels, 0).equal(by_loss.craft(net, clips, (labels + 1) % 3, 0))
    assert float(apart(found).mean()) > 0
    assert float(apart(found).mean()) > 0.9 * float(apart(by_loss.craft(net, clips, labels, 0)).mean())


def test_trades_keeps_of_a_mixture_what_leads_furthest_away() -> None:
    net, (clips, labels) = Small().eval(), clips_of(6)
    attacks = (ATTACK | {"random_start": True}, PGD | {"epsilon": 0.06, "random_start": True})
    before = net(clips).double().log_softmax(1)

    def apart(made: Tensor) -> Tensor:
        after = net(made).double().log_softmax(1)
        return (before.exp() * (before - after)).sum(1).detach()

    each = [apart(adversary(attack=one, method="trades").craft(net, clips, labels, 0)) for one in attacks]
    spec = mixture(*attacks, choice="worst")
    found = apart(adversary(attack=spec, method="trades").craft(net, clips, labels, 0))
    torch.testing.assert_close(found, torch.maximum(*each), rtol=1e-4, atol=1e-7)


def test_trades_with_another_loss_and_with_an_early_stop() -> None:
    net, (clips, labels) = Small().eval(), clips_of(6)
    plain = adversary(attack=PGD, method="trades").craft(net, clips, labels, 0)
    for fields in ({"loss": "dlr"}, {"early_stop": False}):
        found = adversary(attack=PGD | fields, method="trades").craft(net, clips, labels, 0)
        assert found.equal(plain), "the loss is that of looks, not of crafting"
    early = adversary(attack=PGD | {"early_stop": True, "steps": 6}, method="trades")
    made = early.craft(net, clips, labels, 0)
    # Clips that were misread from the beginning are led away as well.
    assert (made != clips).flatten(1).any(1).all()
