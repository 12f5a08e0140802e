"""Adversarial clips for any classifier of clips: the library's core."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from multav.ascent import ascend
from multav.attacks.spec import AttackSpec
from multav.clip_loss import ClipLoss
from multav.frozen_model import frozen
from multav.losses import likeliest_others
from multav.objective import Evaluation
from multav.precision import Precision, gradient_type
from multav.prepared_model import GradientMeans
from multav.randomness import sample_numbers


@dataclass(frozen=True)
class Crafted:
    """What `craft` gives back.

    `clips` (B, 3, T, H, W): the adversarial clips. `logits` (B, classes): what the model says of them. `losses`
    (steps + 1, B): the loss (cross-entropy, unless the attack says otherwise) before each step and of the result.
    `mask` bool (B, 1, T, H, W): where the attack may act. `gradients` int64 (B,): how many were spent on each clip.
    """

    clips: Tensor
    logits: Tensor
    losses: Tensor
    mask: Tensor
    gradients: Tensor

    def with_rows(self, rows: Tensor, other: Self) -> Self:
        """The same, but for `rows` (int64) what `other` has of them; the gradients of both count."""
        return replace(
            self,
            clips=self.clips.index_copy(0, rows, other.clips),
            logits=self.logits.index_copy(0, rows, other.logits),
            losses=self.losses.index_copy(1, rows, other.losses),
            mask=self.mask.index_copy(0, rows, other.mask),
            gradients=self.gradients.index_add(0, rows, other.gradients),
        )


def craft(
    model: nn.Module,
    clips: Tensor,
    labels: Tensor,
    attack: AttackSpec,
    *,
    seed: int = 0,
    first_sample: int | Sequence[int] = 0,
    precision: Precision = "float32",
    on_step: Callable[[int], None] | None = None,
    look_at_end: bool = True,
    away_from: Tensor | None = None,
) -> Crafted:
    """Adversarial versions of `clips` against `model`.

    `model` maps (B, 3, T, H, W) in [0, 1] to logits (B, classes); it is attacked in eval mode, takes no
    parameter gradient, and is given back as it was found. `clips` are float32 in [0, 1] (float64 works too, to
    check against equations), of any memory layout; a model in another precision is handed them in its own, and
    the perturbation keeps theirs. `labels` int64 (B,) are the true classes, or with `attack.targeted` the
    classes to reach. Random draws depend on `seed` and `first_sample` + the index in the batch alone (or, with one
    number for each clip, on its own), so results do not depend on how clips are split into batches. `on_step(step)` is
    called before each step and may raise. Without `look_at_end` the model is not asked about the result where the
    attack does not need it: logits and last losses are then those before the last step, and a forward pass is saved.

    With `precision` "bfloat16", or "auto" on a processor that multiplies it natively, gradients are computed in it;
    the logits and the last losses are those of the model's own precision all the same. A clip that `early_stop` left
    where bfloat16 alone was fooled is attacked once more in the model's own precision, unless `look_at_end` is off.
    Where memory is short, clips go through the model in smaller pieces.

    With `away_from`, the model's answers (B, classes) to the clean clips as log-probabilities, the attack climbs how
    far its answers are led away from them, and not its own loss: it should start at random, as that has no slope at the
    clean clip. `labels` are then the classes of those answers.

    Raises `ValueError` or `TypeError` for clips, labels, sample numbers or logits of a wrong shape, type, range or
    device, and for a region that does not fit into the clips.
    """
    highest = _check(model, clips, labels, attack)
    autocast = gradient_type(precision, clips.device)
    deceived: Tensor | None = None
    with torch.inference_mode(False), frozen(model):
        loss = ClipLoss(
            model,
            attack.loss if away_from is None else "divergence",
            targeted=attack.targeted,
            dtype=_own_type(model, clips),
            autocast=autocast,
            means=GradientMeans.of(model, autocast, clips.device),
            highest=highest,
        )
        ascent = ascend(
            # Cloned, as autograd refuses labels that were made in inference mode.
            _Labelled(loss, labels.clone(), None if away_from is None else away_from.clone()),
            clips.detach(),
            attack,
            seed=seed,
            first_sample=first_sample,
            on_step=on_step,
            look_at_end=look_at_end,
        )
        if autocast is not None and look_at_end and not attack.ends_with_a_score:
            last, logits = loss.score(ascent.clips, labels, away_from)
            if getattr(attack, "early_stop", False):
                deceived = _reached(attack, ascent.logits, labels) & ~_reached(attack, logits, labels)
            ascent = replace(ascent, logits=logits, losses=torch.cat([ascent.losses[:-1], last[None]]))
    mask = ascent.mask
    if mask is None:
        mask = torch.ones(len(clips), 1, *clips.shape[2:], dtype=torch.bool, device=clips.device)
    found = Crafted(ascent.clips, ascent.logits, ascent.losses, mask, ascent.gradients)
    if deceived is None or not deceived.any():
        return found
    rows = deceived.nonzero()[:, 0]
    numbers = sample_numbers(first_sample, len(clips))
    again = craft(
        model,
        clips[rows],
        labels[rows],
        attack,
        seed=seed,
        first_sample=[numbers[row] for row in rows.tolist()],
        precision="float32",
        on_step=on_step,
        away_from=None if away_from is None else away_from[rows],
    )
    return found.with_rows(rows, again)


@dataclass(frozen=True)
class _Labelled:
    """A loss at labels (B,), and with `targets` (B,) the classes to leave for, or answers to be led away from."""

    loss: ClipLoss
    labels: Tensor
    targets: Tensor | None = None

    def __call__(self, clips: Tensor) -> Evaluation:
        return self.loss.gradient(clips, self.labels, self.targets)

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        return self.loss.score(clips, self.labels, self.targets)

    def fooled(self, logits: Tensor) -> Tensor:
        return logits.argmax(1) != self.labels

    def select(self, samples: Tensor) -> "_Labelled":
        targets = None if self.targets is None else self.targets[samples]
        return replace(self, labels=self.labels[samples], targets=targets)

    def rivals(self, clips: Tensor, most: int) -> Sequence["_Labelled"]:
        others = likeliest_others(self.score(clips)[1], self.labels, most)
        return [replace(self, targets=targets) for targets in others]


def _reached(attack: AttackSpec, logits: Tensor, labels: Tensor) -> Tensor:
    """Bool (B,): whether the attack has what it wants."""
    reads = logits.argmax(1) == labels
    return reads if attack.targeted else ~reads


def _check(model: nn.Module, clips: Tensor, labels: Tensor, attack: AttackSpec) -> int:
    """Refuse what cannot be attacked, saying what was expected. The largest label."""
    if not isinstance(attack, AttackSpec):
        raise TypeError(f"attack is a {type(attack).__name__}; make a specification of it with parse_attack")
    for name, value, wanted in (
        ("model", model, nn.Module),
        ("clips", clips, Tensor),
        ("labels", labels, Tensor),
    ):
        if not isinstance(value, wanted):
            raise TypeError(f"{name} is a {type(value).__name__}; expected a {wanted.__name__}")
    if clips.ndim != 5 or clips.shape[1] != 3:
        raise ValueError(f"clips are {tuple(clips.shape)}; expected (B, 3, T, H, W)")
    if clips.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"clips are {clips.dtype}; expected float32 in [0, 1] (divide 8-bit levels by 255)")
    if labels.shape != (len(clips),) or labels.dtype != torch.int64:
        raise ValueError(f"labels are {tuple(labels.shape)} {labels.dtype}; expected ({len(clips)},) int64")
    if clips.numel() == 0:
        raise ValueError(f"clips are empty: {tuple(clips.shape)}")
    _check_devices(model, clips, labels)
    lowest, highest = (float(end) for end in clips.detach().aminmax())
    # Not the other way round: a comparison with NaN is false.
    if not (lowest >= 0 and highest <= 1):
        raise ValueError(f"clips range from {lowest:g} to {highest:g}; expected values within [0, 1]")
    least, largest = (int(end) for end in labels.aminmax())
    if least < 0:
        raise ValueError(f"label {least} is negative")
    return largest


def _check_devices(model: nn.Module, clips: Tensor, labels: Tensor) -> None:
    """Everything must be in one place; a model may be spread over more."""
    if labels.device != clips.device:
        raise ValueError(f"labels are on {labels.device}, clips on {clips.device}")
    devices = {str(parameter.device) for parameter in model.parameters()}
    if devices and str(clips.device) not in devices:
        raise ValueError(f"the model is on {', '.join(sorted(devices))}, clips on {clips.device}")


def _own_type(model: nn.Module, clips: Tensor) -> torch.dtype:
    """What the model computes in: the type of its parameters where they agree, that of the clips otherwise."""
    dtypes = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else clips.dtype
