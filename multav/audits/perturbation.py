"""How far adversarial clips lie from their clean ones, in the figures of an outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_AT_ONCE: Final = 2**22
"""Values that are looked at together: few launches on a GPU, little memory in float64."""


@dataclass(frozen=True)
class Perturbation:
    """`size`: largest ratio or difference; `l2`: length of the difference; `changed`: share of the pixels that differ.

    `size` is None where a value above 0 became 0: that is no ratio.
    """

    size: float | None
    l2: float
    changed: float


def perturbations(
    clean: Sequence[Tensor], adversarial: Sequence[Tensor], *, multiplicative: bool
) -> list[Perturbation]:
    """Between two videos' clips (windows, 3, T, H, W) each, of any float type; computed in float64.

    Ratios max(x'/x, x/x') are taken where the clean value is above 0, and are 1 where none is. A pixel has changed when
    one of its three values has. All windows are of one size.
    """
    if not clean:
        return []
    before, after = torch.cat(list(clean)), torch.cat(list(adversarial))
    piece = max(1, _AT_ONCE // before[0].numel())
    figures = torch.cat(
        [
            _by_window(a.double(), b.double(), multiplicative)
            for a, b in zip(torch.split(before, piece), torch.split(after, piece), strict=True)
        ]
    ).cpu()
    return [_of_video(rows) for rows in torch.split(figures, [len(windows) for windows in clean])]


def _by_window(before: Tensor, after: Tensor, multiplicative: bool) -> Tensor:
    """(windows, 3): largest ratio (infinite where a value vanished) or difference, squared length, share changed."""
    difference = after - before
    changed = (difference != 0).any(1).double().flatten(1).mean(1)
    squared = difference.square().flatten(1).sum(1)
    if multiplicative:
        ratio = torch.where(before > 0, after / before, 1.0).flatten(1)
        size = torch.maximum(ratio.amax(1), 1 / ratio.amin(1))
    else:
        size = difference.abs().flatten(1).amax(1)
    return torch.stack([size, squared, changed], 1)


def _of_video(rows: Tensor) -> Perturbation:
    size, length = float(rows[:, 0].max()), float(rows[:, 1].sum().sqrt())
    return Perturbation(None if size == float("inf") else size, length, float(rows[:, 2].mean()))
