"""Doubts about the attack: would another one have fooled the model more often?

Every question runs a second attack on the same clips and compares clip by clip. Pitfalls of evaluations by Carlini et
al., On Evaluating Adversarial Robustness, 2019 (their section 5), and Croce & Hein, 2020.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

import torch
from torch import nn

from multav.attacks.apgd_linf import ApgdLinf
from multav.attacks.budget import with_budget, with_fields
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.audits.black_box import square_attack
from multav.audits.check_costs import BUDGETS, NOISE_DRAWS, UNBOUNDED_AT, UNBOUNDED_STEPS
from multav.audits.evidence import FEWEST_PAIRS, more_than, outdone
from multav.audits.findings import Check
from multav.audits.logits import logits_of
from multav.audits.noise import margins, noise_attack
from multav.audits.sample import Baseline, Sample

MOST_GAIN: Final = 0.01
"""What a stronger attack may gain before the audited one counts as too weak: one point."""

MOST_LEFT: Final = 0.05
"""The share of clips that an unbounded attack, and a loss that should rise, may fail on."""


def more_steps(sample: Sample, base: Baseline) -> Check:
    """The same attack with many times as many steps, on the clips that it left right."""
    steps = min(10_000, sample.attack.steps * sample.checks.more_steps)
    longer = with_fields(sample.attack, steps=steps)
    return _gain(
        "more steps",
        f"Does the attack fool more clips with {steps} steps than with {sample.attack.steps}?",
        f"{steps} steps",
        sample.fooled(longer, rows=base.left),
        len(sample),
    )


def restarts(sample: Sample, base: Baseline) -> Check:
    """The same attack from random starts, on the clips that it left right."""
    name, question = "restarts", "Does the attack fool more clips from several random starts?"
    if sample.attack.region.drawn:
        return Check(
            name=name,
            question=question,
            passed=None,
            detail="a new start of this attack is a new place as well, which is another attack and no better search",
        )
    again = with_fields(sample.attack, random_start=True, restarts=sample.checks.restarts)
    return _gain(
        name,
        question,
        f"the best of {sample.checks.restarts} random starts",
        sample.fooled(again, rows=base.left),
        len(sample),
    )


def single_step(sample: Sample, base: Baseline) -> Check:
    """One step as long as all of them: where it is stronger, the steps are led astray."""
    attack = sample.attack
    fields: dict[str, object] = {"steps": 1, "random_start": False, "restarts": 1}
    if isinstance(attack, FixedStepAttack):
        fields["step_size"] = (
            attack.epsilon
            if attack.ball.name == "linf"
            else min(attack.rule.part(attack.step_size, attack.steps), 1e6)
        )
    return _comparison(
        "single step",
        "Is one long step stronger than many steps?",
        "one long step",
        sample.fooled(with_fields(attack, **fields)),
        base.fooled,
        len(sample),
    )


def unbounded(sample: Sample, base: Baseline) -> Check:
    """Any clip at all is allowed: nobody is robust to that, so who seems so hides the gradient."""
    left: list[int] = list(base.left)
    # A step from black to white may pass over what a smaller one finds, and is allowed all the same.
    for epsilon in UNBOUNDED_AT:
        free = ApgdLinf(epsilon=epsilon, steps=UNBOUNDED_STEPS, loss=sample.attack.loss)
        fooled = sample.fooled(free, rows=left) if left else set()
        left = [row for row in left if row not in fooled]
    failed = more_than(len(left), len(sample), MOST_LEFT)
    return Check(
        name="unbounded",
        question="Does an attack without a bound fool the model on nearly every clip?",
        passed=not failed,
        detail=f"with every clip allowed the model stays right on {len(left)} of {len(sample)}"
        + (": its gradients do not lead where the loss is higher" if failed else ""),
        numbers={"right": len(left), "clips": len(sample), "steps": UNBOUNDED_STEPS},
    )


def budgets(sample: Sample, base: Baseline) -> Check:
    """A larger bound allows everything that a smaller one does."""
    fooled = {
        times: set(base.fooled) if times == 1 else sample.fooled(with_budget(sample.attack, times))
        for times in BUDGETS
    }
    rises = [
        outdone(len(fooled[small] - fooled[large]), len(fooled[large] - fooled[small]))
        for small, large in pairwise(BUDGETS)
    ]
    accuracies = {times: 1 - len(found) / len(sample) for times, found in fooled.items()}
    shown = ", ".join(f"{100 * accuracies[times]:.0f} % at {times:g}" for times in BUDGETS)
    return Check(
        name="budgets",
        question="Does accuracy fall as the bound grows?",
        passed=_unless_few(not any(rises), len(sample)),
        detail=f"accuracy on the sample, by times the bound: {shown}",
        numbers={f"right at {times:g}": len(sample) - len(found) for times, found in fooled.items()}
        | {"clips": len(sample)},
    )


def noise(sample: Sample, base: Baseline) -> Check:
    """Noise of the same size is no attack: where it does better, the attack does nothing."""
    tried = noise_attack(
        sample.model,
        sample.clips,
        sample.labels,
        sample.attack,
        mask=base.mask,
        draws=NOISE_DRAWS,
        seed=sample.seed,
        first_sample=sample.indices,
        on_step=sample.on_step,
    )
    return _comparison(
        "noise",
        "Is random noise of the same size stronger than the attack?",
        f"the best of {NOISE_DRAWS} draws of noise",
        sample.misread(tried.logits),
        base.fooled,
        len(sample),
    )


def black_box(sample: Sample, base: Baseline) -> Check:
    """An attack that uses no gradients cannot be misled by them."""
    name, question = "black box", "Is an attack without gradients stronger than the attack with them?"
    if sample.attack.ball.name != "linf":
        return Check(
            name=name,
            question=question,
            passed=None,
            detail="squares need a bound on every value by itself, and this attack's bound is on whole clips",
        )
    tried = square_attack(
        sample.model,
        sample.clips,
        sample.labels,
        sample.attack,
        mask=base.mask,
        queries=sample.checks.queries,
        seed=sample.seed,
        first_sample=sample.indices,
        on_step=sample.on_step,
    )
    return _comparison(
        name,
        question,
        f"the Square attack with {sample.checks.queries} queries",
        sample.misread(tried.logits),
        base.fooled,
        len(sample),
    )


def transfer(sample: Sample, base: Baseline, others: Mapping[str, nn.Module]) -> Check:
    """Clips that were crafted on another model should not be worse for this one than its own."""
    name, question = "transfer", "Are clips that were crafted on another model stronger than its own?"
    if not others:
        return Check(
            name=name, question=question, passed=None, detail="the audit has no other model to craft on"
        )
    numbers: dict[str, float | int | str | bool | None] = {"clips": len(sample)}
    worst, details = True, []
    for other_name, other in others.items():
        knows = set(range(len(sample))) - sample.misread(logits_of(other, sample.clips))
        rows = sorted(knows)
        reached: set[int] = set()
        if rows:
            crafted = sample.attacked(sample.attack, rows=rows, on=other)
            logits = logits_of(sample.model, torch.cat([result.clips for result in crafted]))
            wrong = (logits.argmax(1) != sample.labels[rows]).tolist()
            reached = {row for row, misread in zip(rows, wrong, strict=True) if misread}
        stronger = outdone(len(reached - base.fooled), len((base.fooled & knows) - reached))
        worst &= not stronger
        numbers |= {f"known to {other_name}": len(rows), f"fooled from {other_name}": len(reached)}
        details.append(
            f"from {other_name}, {len(reached)} of the {len(rows)} clips that it knows too, "
            f"against {len(base.fooled & knows)} by its own"
        )
    return Check(
        name=name,
        question=question,
        passed=_unless_few(worst, len(sample)),
        detail=f"fooled {'; '.join(details)}",
        numbers=numbers,
    )


def other_loss(sample: Sample, base: Baseline) -> Check:
    """A loss that does not change with the scale of the logits: where it wins, cross-entropy was saturated."""
    plain = sample.attack.loss == "cross-entropy"
    loss, mine = ("dlr", "cross-entropy") if plain else ("cross-entropy", sample.attack.loss)
    name, question = "other loss", f"Is the attack stronger when it climbs {loss} instead of {mine}?"
    classes = base.results[0].logits.shape[1]
    if loss == "dlr" and classes < 3:
        return Check(
            name=name,
            question=question,
            passed=None,
            detail=f"the loss that does not saturate, dlr, needs 3 classes, and the model has {classes}",
            numbers={"classes": classes},
        )
    other = with_fields(sample.attack, loss=loss, target_classes=9)
    return _comparison(
        name, question, f"the same attack on {loss}", sample.fooled(other), base.fooled, len(sample)
    )


def rising_loss(sample: Sample, base: Baseline) -> Check:
    """An attack climbs: a margin that is no smaller at the end says that it had nowhere to go.

    Asked of the margin of the label's logit over the best other, as cross-entropy itself is 0 in single precision where
    a model is very sure, before and after.
    """
    labels = sample.labels.cpu()
    before = margins(logits_of(sample.model, sample.clips).cpu(), labels)
    after = margins(torch.cat([result.logits for result in base.results]), labels)
    flat = [row for row in base.left if not float(after[row]) < float(before[row])]
    failed = more_than(len(flat), len(sample), MOST_LEFT)
    return Check(
        name="rising loss",
        question="Does the loss rise along the steps?",
        passed=not failed,
        detail=f"on {len(flat)} of {len(sample)} clips the model stayed right and no nearer to an error than before",
        numbers={"not rising": len(flat), "clips": len(sample)},
    )


ATTACK_DOUBTS: Final[tuple[Callable[[Sample, Baseline], Check], ...]] = (
    rising_loss,
    more_steps,
    restarts,
    single_step,
    other_loss,
    unbounded,
    budgets,
    noise,
    black_box,
)
"""All of them but `transfer`, cheap ones first."""


def _gain(name: str, question: str, what: str, gained: set[int], clips: int) -> Check:
    """The check of an attack that can only add to what the audited one reached."""
    failed = more_than(len(gained), clips, MOST_GAIN)
    return Check(
        name=name,
        question=question,
        passed=not failed,
        detail=f"{what} fool{'' if what.endswith('steps') else 's'} {len(gained)} of {clips} clips more"
        + (f" ({100 * len(gained) / clips:.0f} points): significantly more than 1 point" if failed else ""),
        numbers={"gained": len(gained), "clips": clips},
    )


def _comparison(
    name: str, question: str, what: str, reached: set[int], ours: frozenset[int], clips: int
) -> Check:
    """The check of an attack that should be weaker."""
    failed = outdone(len(reached - ours), len(ours - reached))
    return Check(
        name=name,
        question=question,
        passed=_unless_few(not failed, clips),
        detail=f"{what} fools {len(reached)} of {clips} clips, the attack {len(ours)}"
        + (", which is significantly fewer" if failed else "")
        + (f"; fewer than {FEWEST_PAIRS} clips say nothing" if clips < FEWEST_PAIRS else ""),
        numbers={
            "fooled": len(reached),
            "fooled by the attack": len(ours),
            # Both together fool so many more than the audited attack by itself.
            "gained": len(reached - ours),
            "lost": len(ours - reached),
            "clips": clips,
        },
    )


def _unless_few(passed: bool, clips: int) -> bool | None:
    """The answer, or None where so few clips could not have given another."""
    return passed if clips >= FEWEST_PAIRS else None
