"""The doubts: who hides a gradient is found out, and who does not is left alone."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from multav import craft, parse_attack
from multav.audits.check_costs import SHARES, most_gradients, most_predictions
from multav.audits.estimate import estimate
from multav.audits.examination import DOUBTS, examine
from multav.audits.findings import Check
from multav.audits.request import AuditRequest, Checks
from multav.audits.verdict import MEASURED_GAINS, verdict
from multav.geometry import InputGeometry
from tests.multav.audits.nets import CLASSES, After, Before, patterns, trained

CHECKS = Checks(clips=16, more_steps=3, restarts=2, queries=30)


def found_of(
    model: nn.Module,
    *,
    epsilon: float = 0.05,
    steps: int = 12,
    seed: int = 0,
    first: int = 9000,
    **fields: object,
) -> dict[str, Check]:
    """The findings on 16 clips that the model knows, by name."""
    clips, labels = patterns(range(first, first + 24), seed=9)
    known = model.eval()(clips).argmax(1) == labels
    attack = parse_attack(
        {
            "kind": "pgd-linf",
            "epsilon": epsilon,
            "step_size": epsilon / 4,
            "steps": steps,
            "early_stop": True,
        }
        | fields
    )
    rows = known.nonzero()[:16, 0]
    found = examine(
        model,
        "net",
        clips[rows],
        labels[rows],
        rows.tolist(),
        attack,
        CHECKS,
        seed=seed,
        others={"other": trained(1)},
    )
    return {check.name: check for check in found}


def failed(found: dict[str, Check]) -> set[str]:
    """Names of the checks that speak against the numbers."""
    return {name for name, check in found.items() if check.passed is False}


@cache
def honest() -> dict[str, Check]:
    """Findings of the honest network."""
    return found_of(trained(0))


NAMES = {
    "logits",
    "repeatable",
    "neighbours",
    "gradients",
    "true gradients",
    "rising loss",
    "more steps",
    "restarts",
    "single step",
    "other loss",
    "unbounded",
    "budgets",
    "noise",
    "black box",
    "transfer",
}


def test_an_honest_network_is_not_flagged_and_every_question_is_asked() -> None:
    found = honest()
    assert set(found) == NAMES
    assert {name: check.detail for name, check in found.items() if check.passed is not True} == {}


def test_a_hardened_network_is_not_flagged() -> None:
    assert failed(found_of(trained(0, hardened=True))) == set()


class Chance(nn.Module):
    """A defence that adds noise to every clip."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained(0)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits of noisy clips."""
        logits: Tensor = self.net(clips + 0.1 * torch.randn_like(clips))
        return logits


class Part(nn.Module):
    """The gradient flows through a small share of the answer alone, and that share misleads."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained(0)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits, most of them cut off."""
        logits: Tensor = self.net(clips.detach()) + 0.05 * self.net(1 - clips)
        return logits


class Neighbours(nn.Module):
    """Each clip is seen against the mean of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained(0)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits that depend on the batch."""
        logits: Tensor = self.net(clips + 0.3 * (clips.mean(0, keepdim=True) - 0.4))
        return logits


PLANTED: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "rounded clips": (
        lambda: Before(trained(0), lambda clips: (clips * 31).round() / 31),
        {"gradients", "true gradients", "rising loss", "unbounded"},
    ),
    "logits times 10,000": (
        lambda: After(trained(0), lambda logits: logits * 1e4),
        {"gradients", "rising loss", "unbounded"},
    ),
    "noise": (Chance, {"repeatable"}),
    "dropout that is always on": (
        lambda: Before(trained(0), lambda clips: functional.dropout(clips, 0.2, training=True)),
        {"repeatable"},
    ),
    "probabilities": (lambda: After(trained(0), lambda logits: logits.softmax(1)), {"logits"}),
    "cut off": (Part, {"true gradients"}),
    "signs": (
        lambda: Before(trained(0), lambda clips: 0.5 + 0.15 * (clips - 0.5).sign()),
        {"gradients", "true gradients", "unbounded"},
    ),
    "shattered": (
        lambda: Before(trained(0), lambda clips: clips + 0.02 * (3000 * clips).sin()),
        {"true gradients"},
    ),
    "neighbours": (Neighbours, {"neighbours"}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_model_is_found_out(name: str) -> None:
    make, expected = PLANTED[name]
    found = found_of(make(), steps=5)
    assert expected <= failed(found)
    said = verdict(
        name,
        clips=100,
        known=100,
        classes=CLASSES,
        right={"pgd-linf@0.05": 98},
        worst=98,
        checks=list(found.values()),
        robust_at=0.5,
    )
    assert said.verdict == "cannot be trusted"


def test_saturated_logits_are_told_from_missing_gradients() -> None:
    found = found_of(After(trained(0), lambda logits: logits * 1e4), epsilon=0.1, steps=5)
    assert found["gradients"].numbers["saturated"] == 16
    assert found["other loss"].passed is False
    assert "too large for cross-entropy" in found["gradients"].detail


def test_logarithms_of_probabilities_are_no_fault() -> None:
    found = found_of(After(trained(0), lambda logits: logits.log_softmax(1)))
    assert found["logits"].passed
    assert "logarithms" in found["logits"].detail


def test_two_classes_leave_the_other_loss_unasked() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = trained(0)

        def forward(self, clips: Tensor) -> Tensor:
            logits: Tensor = self.net(clips)
            return logits[:, :2]

    found = found_of(Two(), steps=3)
    assert found["other loss"].passed is None
    assert "needs 3 classes" in found["other loss"].detail


def test_an_attack_that_is_too_weak_is_called_so() -> None:
    found = found_of(trained(0), epsilon=0.08, steps=4, step_size=0.01)
    assert {"more steps"} <= failed(found) <= {"more steps", "restarts", "single step"}
    assert found["more steps"].numbers["gained"] > 0  # type: ignore[operator]


def test_squares_are_not_asked_of_a_bound_on_clips() -> None:
    found = found_of(trained(0), kind="pgd-l2", epsilon=2.0, step_size=0.5, steps=3)
    assert found["black box"].passed is None


def test_clips_that_nobody_knows_leave_nothing_to_ask() -> None:
    clips, _ = patterns(range(8))
    wrong = (trained(0)(clips).argmax(1) + 1) % CLASSES
    (only,) = examine(trained(0), "net", clips, wrong, range(8), parse_attack({"kind": "pgd-linf"}), CHECKS)
    assert only.passed is None
    assert "knows none of the 8 clips" in only.detail


def test_the_same_arguments_give_the_same_findings_and_each_is_told_as_it_comes() -> None:
    told: list[Check] = []
    net = trained(0)
    clips, labels = patterns(range(9000, 9008), seed=9)
    attack = parse_attack({"kind": "multav-linf", "epsilon": 1.1, "random_start": True, "early_stop": True})
    net.train()
    runs = [
        examine(net, "net", clips, labels, range(8), attack, CHECKS, seed=3, check=told.append)
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert told == runs[0] + runs[1]
    assert net.training
    net.eval()


class Counted(nn.Module):
    """A network that counts the clips it is shown, with a gradient and without."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.gradients = self.predictions = 0

    def forward(self, clips: Tensor) -> Tensor:
        """Logits."""
        if clips.requires_grad:
            self.gradients += len(clips)
        else:
            self.predictions += len(clips)
        logits: Tensor = self.net(clips)
        return logits


def test_every_doubt_has_one_share() -> None:
    assert sorted(name for share in SHARES for name in share) == sorted(DOUBTS)


@pytest.mark.parametrize(
    "fields",
    [
        {"step_size": 1e-3},
        {"kind": "apgd-linf", "steps": 4},
        {"loss": "dlr-targeted", "target_classes": 3},
        {"kind": "roa", "size": 3},
        {"restarts": 2, "random_start": True},
    ],
    ids=["plain", "adaptive", "targets", "drawn", "restarts"],
)
@pytest.mark.parametrize("shared", [False, True], ids=["at once", "in shares"])
def test_checks_cost_no_more_than_is_said(fields: dict[str, Any], shared: bool) -> None:
    clips, labels = patterns(range(9000, 9004), seed=9)
    # Nobody is fooled at so small a bound, so that nothing is left out.
    attack = parse_attack({"kind": "pgd-linf", "epsilon": 1e-3, "steps": 3, **fields})
    counted, other = Counted(trained(0)), Counted(trained(1))
    shares = SHARES if shared else (DOUBTS,)
    for doubts in shares:
        others = {"other": other}
        examine(counted, "net", clips, labels, range(4), attack, CHECKS, others=others, doubts=doubts)
    gradients = most_gradients(attack, CHECKS, others=1, shares=len(shares))
    predictions = most_predictions(attack, CHECKS, others=1, shares=len(shares))
    assert 0.6 * gradients < (counted.gradients + other.gradients) / 4 <= gradients
    assert 0.6 * predictions < (counted.predictions + other.predictions) / 4 <= predictions


def test_the_estimate_covers_the_attack_and_the_checks() -> None:
    names = ("net", "other")
    request = AuditRequest.parse(
        {
            "models": names,
            "attacks": [{"kind": "pgd-linf", "epsilon": 1e-3, "step_size": 1e-3, "steps": 3}],
            "checks": CHECKS.model_dump(),
        }
    )
    geometry = InputGeometry(frames=4, stride=1, short_side=8, height=8, width=8)
    cost = estimate(
        request,
        clips=4,
        geometries=dict.fromkeys(names, geometry),
        parameters=dict.fromkeys(names),
        speeds=dict.fromkeys(names, ("cpu", 0.5)),
        workers=1,
    )
    clips, labels = patterns(range(9000, 9004), seed=9)
    counted, other = Counted(trained(0)), Counted(trained(1))
    (attack,) = request.attacks
    counted(clips)
    craft(counted, clips, labels, attack)
    for doubts in SHARES:
        others = {"other": other}
        examine(counted, "net", clips, labels, range(4), attack, CHECKS, others=others, doubts=doubts)
    spent = counted.gradients + other.gradients
    of_one = cost.by_model[0]
    assert 0.6 * of_one.gradients < spent <= of_one.gradients
    predicted = counted.predictions + other.predictions
    assert 0.6 * of_one.predictions < predicted <= of_one.predictions
    assert of_one.seconds == pytest.approx(0.5 * (of_one.gradients + 0.6 * of_one.predictions))
    assert (cost.predictions, cost.seconds) == (2 * of_one.predictions, pytest.approx(2 * of_one.seconds))


@pytest.mark.slow
@pytest.mark.parametrize("hardened", [False, True])
def test_false_alarms_are_rare(hardened: bool) -> None:
    """Over 20 samples and seeds, at bounds where some clips are fooled and some are not: none of 240 questions.

    Left out are the three checks that look for a stronger attack of the same kind: at such bounds there is one.
    """
    net = trained(0, hardened=hardened)
    epsilons = (0.09, 0.105, 0.12) if hardened else (0.055, 0.065, 0.075)
    alarms = [
        (seed, name)
        for seed in range(20)
        for name in failed(found_of(net, seed=seed, first=20000 + 24 * seed, epsilon=epsilons[seed % 3]))
        if name not in MEASURED_GAINS
    ]
    assert alarms == []
