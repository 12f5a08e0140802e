"""A look at what a model has learnt: its accuracy on clips as they are, and under attack."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from multav.attacks.catalogue import AnyAttack
from multav.audits.logits import logits_of
from multav.clip_attack import craft
from multav.precision import Precision


@dataclass(frozen=True)
class Look:
    """Of so many clips: how many are read `right`, clean and at their worst under attack (`held`); `total_loss` is the
    sum of clean cross-entropies.
    """

    clips: int
    right: int
    held: int
    total_loss: float

    @classmethod
    def of_all(cls, looks: Iterable[Self]) -> Self | None:
        """Several looks at different clips as one; None where there are none."""
        found = list(looks)
        if not found:
            return None
        return cls(
            clips=sum(each.clips for each in found),
            right=sum(each.right for each in found),
            held=sum(each.held for each in found),
            total_loss=sum(each.total_loss for each in found),
        )

    @property
    def clean_accuracy(self) -> float:
        """Share read right."""
        return self.right / self.clips

    @property
    def robust_accuracy(self) -> float:
        """Share read right whatever the attacks did."""
        return self.held / self.clips

    @property
    def loss(self) -> float:
        """Mean clean cross-entropy."""
        return self.total_loss / self.clips


def look(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor, Sequence[int]]],
    attacks: Sequence[AnyAttack],
    *,
    seed: int,
    precision: Precision,
    check: Callable[[], None],
) -> Look | None:
    """Look at clips (B, 3, T, H, W), labels (B,) and sample numbers, on the model's device; None where there are none.

    A clip counts as robust when the model is right about it, and stays so under each of `attacks` (with none: when it
    is right). A clip is left once it is misread, also on the way of an attack: what any step can do counts, which costs
    less and is never kinder. What is misread in less precision alone is not left for that (`multav.clip_attack`). Draws
    depend on `seed` and sample number alone.
    """
    clips, clean, robust, loss = 0, 0, 0, 0.0
    for pixels, labels, numbers in batches:
        check()
        logits = logits_of(model, pixels)
        loss += float(functional.cross_entropy(logits.float(), labels, reduction="sum"))
        left = logits.argmax(1) == labels
        clips, clean = clips + len(labels), clean + int(left.sum())
        for attack in attacks:
            rows = left.nonzero()[:, 0]
            if not len(rows):
                break
            made = craft(
                model,
                pixels[rows],
                labels[rows],
                _leaving_early(attack),
                seed=seed,
                first_sample=[numbers[row] for row in rows.tolist()],
                precision=precision,
                on_step=lambda _: check(),
            )
            left = left.index_copy(0, rows, made.logits.argmax(1) == labels[rows])
        robust += int(left.sum())
    if not clips:
        return None
    return Look(clips, clean, robust, loss)


def _leaving_early(attack: AnyAttack) -> AnyAttack:
    return attack.model_copy(update={"early_stop": True}) if hasattr(attack, "early_stop") else attack
