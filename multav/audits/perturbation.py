"""How far an adversarial clip lies from its clean one, in the figures of an outcome."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Perturbation:
    """`size`: largest ratio or difference; `l2`: length of the difference; `changed`: share of the pixels that differ.

    `size` is None where a value above 0 became 0: that is no ratio.
    """

    size: float | None
    l2: float
    changed: float


def perturbation(clean: Tensor, adversarial: Tensor, *, multiplicative: bool) -> Perturbation:
    """Between two clips (windows, 3, T, H, W) of any float type; computed in float64.

    Ratios max(x'/x, x/x') are taken where the clean value is above 0, and are 1 where none is. A pixel has changed when
    one of its three values has.
    """
    before, after = clean.double(), adversarial.double()
    difference = after - before
    length = float(difference.square().sum().sqrt())
    changed = float((difference != 0).any(1).double().mean())
    if not multiplicative:
        return Perturbation(float(difference.abs().max()), length, changed)
    lit = before > 0
    before, after = before[lit], after[lit]
    if not before.numel():
        return Perturbation(1.0, length, changed)
    if bool((after == 0).any()):
        return Perturbation(None, length, changed)
    ratio = after / before
    return Perturbation(float(max(ratio.max(), 1 / ratio.min())), length, changed)
