"""Doubts about the model: does it give an attack what an attack needs?

Gradients that vanish, that lie, or that change from call to call make every attack with gradients look weak. After
Athalye, Carlini & Wagner, Obfuscated Gradients Give a False Sense of Security, 2018, and the warnings of AutoAttack
(Croce & Hein, 2020).
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from multav.audits.check_costs import PROBES, REPEATS
from multav.audits.evidence import more_than
from multav.audits.findings import Check
from multav.audits.logits import logits_of
from multav.audits.sample import Baseline, Sample
from multav.frozen_model import frozen
from multav.losses import cross_entropy, likeliest_others
from multav.randomness import generator

FEW: Final = 8
"""Clips are enough where a fault is one of the model and not of a clip."""

BLIND_SHARE: Final = 0.99
"""A gradient of which so many values are exactly 0 leads nowhere."""

MOST_BLIND: Final = 0.05
SAME_LOGITS: Final = 1e-3
"""Of the logits' spread, what rounding may change; single precision changes some 1e-6 of it."""

SAME_GRADIENT: Final = 0.1
PROBE_STEP: Final = 0.5 / 255
"""Half a level of 8-bit video: small enough for a slope, large enough to rise above rounding."""

MOST_ASTRAY: Final = 0.5


def gradients(sample: Sample, base: Baseline) -> Check:
    """Zeros, underflow and values that are no numbers, of the loss that nearly all attacks climb."""
    gradient = _gradient(sample, cross_entropy)
    margin = _gradient(sample, _margin)
    acting = base.mask.expand_as(gradient)
    values = acting.flatten(1).sum(1)
    zeros = ((gradient == 0) & acting).flatten(1).sum(1) / values
    undefined = ~gradient.isfinite().flatten(1).all(1)
    blind = (zeros >= BLIND_SHARE) | undefined
    sighted = ((margin != 0) & margin.isfinite() & acting).flatten(1).sum(1) / values > 1 - BLIND_SHARE
    saturated = blind & sighted
    failed = more_than(int(blind.sum()), len(sample), MOST_BLIND)
    detail = f"{int(blind.sum())} of {len(sample)} clips have no gradient to follow"
    if int(saturated.sum()):
        detail += (
            f"; on {int(saturated.sum())} of them the difference of two logits has one, so that the logits are too "
            "large for cross-entropy"
        )
    return Check(
        name="gradients",
        question="Is there a gradient to follow?",
        passed=not failed,
        detail=detail,
        numbers={
            "blind": int(blind.sum()),
            "saturated": int(saturated.sum()),
            "undefined": int(undefined.sum()),
            "median share of zeros": float(zeros.median()),
            "clips": len(sample),
        },
    )


def true_gradients(sample: Sample, base: Baseline) -> Check:
    """Slopes by differences, against the slopes that the gradient claims, in coarse random directions.

    A gradient that is cut off somewhere inside, or that belongs to another function than the logits, claims other
    slopes than there are. Relative error |measured - claimed| / max(|measured|, |claimed|) over `PROBES` directions.
    """
    del base
    count = min(FEW, len(sample))
    clips = sample.clips[:count].clamp(PROBE_STEP, 1 - PROBE_STEP)
    labels = sample.labels[:count]
    rivals = likeliest_others(logits_of(sample.model, clips), labels, 1)[0]

    def difference(logits: Tensor) -> Tensor:
        return (logits.gather(1, labels[:, None]) - logits.gather(1, rivals[:, None]))[:, 0].double()

    gradient = _gradient_at(sample, clips, difference)
    measured, claimed = [], []
    for probe in range(PROBES):
        direction = _coarse_signs(sample, count, probe)
        ahead = logits_of(sample.model, clips + PROBE_STEP * direction)
        behind = logits_of(sample.model, clips - PROBE_STEP * direction)
        measured.append((difference(ahead) - difference(behind)) / (2 * PROBE_STEP))
        claimed.append((gradient * direction).double().flatten(1).sum(1))
    slopes, claims = torch.stack(measured, 1), torch.stack(claimed, 1)
    rounding = logits_of(sample.model, clips).double().abs().amax(1) * 1e-6 / PROBE_STEP
    size = torch.maximum(slopes.norm(dim=1), claims.norm(dim=1))
    measurable = size > 20 * rounding
    errors = (slopes - claims).norm(dim=1) / size.clamp_min(1e-300)
    astray = measurable & ~(errors <= MOST_ASTRAY)
    asked = int(measurable.sum())
    failed = 2 * int(astray.sum()) > asked
    return Check(
        name="true gradients",
        question="Is the gradient the slope of what the model answers?",
        passed=not failed if asked else None,
        detail=f"on {int(astray.sum())} of {asked} clips the slopes that the gradient claims are not those measured"
        if asked
        else "the logits change too little to measure their slopes",
        numbers={
            "astray": int(astray.sum()),
            "clips": asked,
            "median error": float(errors[measurable].median()) if asked else None,
        },
    )


def repeatable(sample: Sample, base: Baseline) -> Check:
    """The same clips, asked again: who answers by chance is not judged by one answer, nor attacked by one gradient."""
    del base
    clips = sample.clips[:FEW]
    answers = torch.stack([logits_of(sample.model, clips) for _ in range(REPEATS)]).double()
    differ = (answers.amax(0) - answers.amin(0)).amax(1) / _spread(answers[0])
    furthest = float(differ.max())
    failed = not furthest <= SAME_LOGITS
    return Check(
        name="repeatable",
        question="Does the model say the same of the same clip?",
        passed=not failed,
        detail=f"asked {REPEATS} times, its logits differ by {100 * furthest:.2g} % of their spread"
        + (
            ": it answers by chance, so that gradients are noisy and one answer proves nothing"
            if failed
            else ""
        ),
        numbers={"difference": furthest, "repeats": REPEATS, "clips": len(clips)},
    )


def logits(sample: Sample, base: Baseline) -> Check:
    """Probabilities in place of logits flatten cross-entropy's gradient."""
    del base
    said = logits_of(sample.model, sample.clips).double()
    sums = bool(((said.sum(1) - 1).abs() < 1e-3).all())
    probabilities = sums and bool((said >= 0).all())
    logarithms = bool((said <= 0).all() and ((said.exp().sum(1) - 1).abs() < 1e-3).all())
    if probabilities:
        detail = "they are not negative and sum to 1: these are probabilities, whose loss is nearly flat"
    elif logarithms:
        detail = "they are logarithms of probabilities, which all losses take as well as logits"
    else:
        detail = f"they range from {float(said.min()):.3g} to {float(said.max()):.3g}, as logits do"
    return Check(
        name="logits",
        question="Does the model answer logits, as the losses expect?",
        passed=not probabilities,
        detail=detail,
        numbers={"lowest": float(said.min()), "highest": float(said.max()), "classes": said.shape[1]},
    )


def neighbours(sample: Sample, base: Baseline) -> Check:
    """A clip alone, and the same clip in a batch."""
    del base
    name, question = "neighbours", "Is a clip's gradient its own, whatever else is in the batch?"
    count = min(FEW, len(sample))
    if count < 2:
        return Check(
            name=name, question=question, passed=None, detail="there is one clip, without neighbours"
        )
    together = logits_of(sample.model, sample.clips[:count]).double()
    alone = torch.cat([logits_of(sample.model, clip[None]) for clip in sample.clips[:count]]).double()
    said = float(((together - alone).abs().amax(1) / _spread(alone)).max())

    def gradient(clips: Tensor, labels: Tensor) -> Tensor:
        return _gradient_at(sample, clips, partial(_on, _margin, labels)).double().flatten(1)

    clips, labels = sample.clips[:count], sample.labels[:count]
    beside = gradient(clips, labels)
    own = torch.cat([gradient(clips[row : row + 1], labels[row : row + 1]) for row in range(count)])
    # The median: beside a kink of the network rounding can move a clip to the other side.
    apart = float(((beside - own).norm(dim=1) / own.norm(dim=1).clamp_min(1e-300)).median())
    failed = not (said <= SAME_LOGITS and apart <= SAME_GRADIENT)
    return Check(
        name=name,
        question=question,
        passed=not failed,
        detail=f"alone and in a batch logits differ by {100 * said:.2g} % of their spread, "
        f"gradients by {100 * apart:.2g} %",
        numbers={"logits": said, "gradients": apart, "clips": count},
    )


MODEL_DOUBTS: Final[tuple[Callable[[Sample, Baseline], Check], ...]] = (
    logits,
    repeatable,
    neighbours,
    gradients,
    true_gradients,
)
"""All of them."""


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's logit against the best other."""
    others = functional.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(others, -torch.inf).amax(1) - logits.gather(1, labels[:, None])[:, 0]


def _gradient(sample: Sample, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Of the loss on every clip (n, 3, T, H, W); in small batches."""
    batches = zip(torch.split(sample.clips, FEW), torch.split(sample.labels, FEW), strict=True)
    return torch.cat([_gradient_at(sample, clips, partial(_on, loss, labels)) for clips, labels in batches])


def _on(loss: Callable[[Tensor, Tensor], Tensor], labels: Tensor, logits: Tensor) -> Tensor:
    return loss(logits, labels)


def _gradient_at(sample: Sample, clips: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Of the summed loss of the model's float logits by `clips`; zeros where the answer does not depend on them."""
    dtypes = {parameter.dtype for parameter in sample.model.parameters() if parameter.is_floating_point()}
    own = dtypes.pop() if len(dtypes) == 1 else clips.dtype
    with torch.inference_mode(False), torch.enable_grad(), frozen(sample.model):
        leaf = clips.detach().clone().requires_grad_()
        said = loss(sample.model(leaf.to(own)).float()).sum()
        if not said.requires_grad:
            return torch.zeros_like(clips)
        (gradient,) = torch.autograd.grad(said, leaf, allow_unused=True)
    return torch.zeros_like(clips) if gradient is None else gradient.detach()


def _coarse_signs(sample: Sample, count: int, probe: int) -> Tensor:
    """Blocks of -1 and 1 (count, 3, T, H, W), up to 4 along each side: fine ones would cancel out."""
    frames, height, width = sample.clips.shape[2:]
    drawn = []
    for index in sample.indices[:count]:
        draw = generator(sample.seed + 0x70726F62 + probe, index)
        signs = torch.randint(2, (1, 3, min(4, frames), min(4, height), min(4, width)), generator=draw)
        drawn.append(functional.interpolate(signs.float() * 2 - 1, size=(frames, height, width)))
    return torch.cat(drawn).to(sample.clips)


def _spread(logits: Tensor) -> Tensor:
    """Between the largest and the smallest logit of each clip, never 0."""
    return (logits.amax(1) - logits.amin(1)).clamp_min(1e-30)
