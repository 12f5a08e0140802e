"""Adversarial clips for any classifier of clips: the library's core."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multav.attacks.spec import AttackSpec
from multav.frozen_model import frozen
from multav.gradient_loop import Evaluation, ascend


@dataclass(frozen=True)
class Crafted:
    """What `craft` gives back.

    `clips` (B, 3, T, H, W): the adversarial clips. `logits` (B, classes): what the model says of them. `losses`
    (steps + 1, B): cross-entropy before each step and after the last. `mask` bool (B, 1, T, H, W): where the
    attack may act.
    """

    clips: Tensor
    logits: Tensor
    losses: Tensor
    mask: Tensor


@dataclass(frozen=True)
class _Labelled:
    """Cross-entropy of a model's logits with the labels (B,)."""

    model: nn.Module
    labels: Tensor

    def __call__(self, clips: Tensor) -> Evaluation:
        leaf = clips.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.model(leaf)
            losses = functional.cross_entropy(logits.float(), self.labels, reduction="none")
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return Evaluation(losses.detach(), logits.detach(), gradient)

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            logits = self.model(clips)
            return functional.cross_entropy(logits.float(), self.labels, reduction="none"), logits


def craft(
    model: nn.Module,
    clips: Tensor,
    labels: Tensor,
    attack: AttackSpec,
    *,
    seed: int = 0,
    first_sample: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> Crafted:
    """Adversarial versions of `clips` against `model`.

    `model` maps (B, 3, T, H, W) in [0, 1] to logits (B, classes); it is attacked in eval mode, takes no
    parameter gradient, and is given back as it was found. `clips` are float32 (float64 works too) in [0, 1],
    `labels` int64 (B,): the true classes, or with `attack.targeted` the classes to reach. Random draws depend
    on `seed` and `first_sample` + the index in the batch alone, so results do not depend on how clips are split
    into batches. `on_step(step)` is called before each step and may raise.

    Raises `ValueError` or `TypeError` for clips or labels of a wrong shape, type or range.
    """
    _check(clips, labels)
    with frozen(model):
        ascent = ascend(
            _Labelled(model, labels),
            clips.detach(),
            attack,
            seed=seed,
            first_sample=first_sample,
            on_step=on_step,
        )
    region = attack.region.mask(clips)
    shape = (len(clips), 1, *clips.shape[2:])
    mask = torch.ones(shape, dtype=torch.bool, device=clips.device) if region is None else region
    return Crafted(ascent.clips, ascent.logits, ascent.losses, mask)


def _check(clips: Tensor, labels: Tensor) -> None:
    """Refuse what cannot be attacked, saying what was expected."""
    if clips.ndim != 5 or clips.shape[1] != 3:
        raise ValueError(f"clips are {tuple(clips.shape)}; expected (B, 3, T, H, W)")
    if clips.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"clips are {clips.dtype}; expected float32 in [0, 1] (divide 8-bit levels by 255)")
    if labels.shape != (len(clips),) or labels.dtype != torch.int64:
        raise ValueError(f"labels are {tuple(labels.shape)} {labels.dtype}; expected ({len(clips)},) int64")
    if labels.device != clips.device:
        raise ValueError(f"labels are on {labels.device}, clips on {clips.device}")
    if clips.numel() == 0:
        raise ValueError(f"clips are empty: {tuple(clips.shape)}")
    lowest, highest = clips.aminmax()
    # Not the other way round: a comparison with NaN is false.
    if not (lowest >= 0 and highest <= 1):
        raise ValueError(
            f"clips range from {float(lowest):g} to {float(highest):g}; expected values within [0, 1]"
        )
    if int(labels.min()) < 0:
        raise ValueError("labels must not be negative")
