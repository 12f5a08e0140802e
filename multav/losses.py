"""What an attack climbs: losses of each sample by its logits (B, classes) and labels (B,), (B,) each."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from multav.attacks.spec import LossName


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of the labels."""
    return functional.cross_entropy(logits, labels, reduction="none")


def difference_of_logits_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """DLR (Croce & Hein): -(z_label - best other) / (z_first - z_third), the same for logits of any scale.

    Above 0 where the label is not the prediction. Raises `ValueError` with fewer than 3 classes.
    """
    if logits.shape[1] < 3:
        raise ValueError(f'loss "dlr" needs at least 3 classes, the model has {logits.shape[1]}')
    ranked = logits.topk(3, dim=1).values
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    spread = (ranked[:, 0] - ranked[:, 2]).clamp_min(torch.finfo(logits.dtype).tiny)
    return (others - own) / spread


def toward_targets(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The targeted DLR (Croce & Hein): -(z_label - z_target) / (z_first - (z_third + z_fourth) / 2).

    Above 0 where the target is likelier than the label. Raises `ValueError` with fewer than 4 classes.
    """
    if logits.shape[1] < 4:
        raise ValueError(f'loss "dlr-targeted" needs at least 4 classes, the model has {logits.shape[1]}')
    ranked = logits.topk(4, dim=1).values
    own, aim = (logits.gather(1, classes[:, None])[:, 0] for classes in (labels, targets))
    spread = (ranked[:, 0] - ranked[:, 2:].mean(1)).clamp_min(torch.finfo(logits.dtype).tiny)
    return (aim - own) / spread


def short_of_target(logits: Tensor, labels: Tensor) -> Tensor:
    """What a targeted attack descends: how far the labels, which are classes to reach, are behind the best other.

    (best other - z_label) / (z_first - (z_third + z_fourth) / 2), the targeted DLR seen from the best other class: the
    plain DLR does not change while its label is the third. Raises `ValueError` with fewer than 4 classes.
    """
    if logits.shape[1] < 4:
        raise ValueError(f'loss "dlr" needs at least 4 classes to reach one, the model has {logits.shape[1]}')
    (others,) = likeliest_others(logits, labels, 1)
    return -toward_targets(logits, others, labels)


def divergence(logits: Tensor, answers: Tensor) -> Tensor:
    """How far the model was led away from `answers`, log-probabilities (B, classes): the Kullback-Leibler divergence of
    what it says now from them (Zhang et al., 2019, equation 5).
    """
    return functional.kl_div(logits.log_softmax(1), answers, reduction="none", log_target=True).sum(1)


def likeliest_others(logits: Tensor, labels: Tensor, most: int) -> tuple[Tensor, ...]:
    """Up to `most` classes (B,) other than the labels, of each sample the likeliest first."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.topk(min(most, logits.shape[1] - 1), dim=1).indices.unbind(1)


LOSSES: Final[dict[LossName, Callable[[Tensor, Tensor], Tensor]]] = {
    "cross-entropy": cross_entropy,
    "dlr": difference_of_logits_ratio,
    # Of the clean clip only: each run of the attack has its targets.
    "dlr-targeted": difference_of_logits_ratio,
}
"""Losses by their names in a specification."""
