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


LOSSES: Final[dict[LossName, Callable[[Tensor, Tensor], Tensor]]] = {
    "cross-entropy": cross_entropy,
    "dlr": difference_of_logits_ratio,
}
"""Losses by their names in a specification."""
