"""An audit doubts itself: the checks of one model on a sample of its clips.

Each check asks one question that has one answer for an honest model; `docs/doubts.md` has them all, with why they are
asked, how they are decided, and what to do where one fails.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from multav.attacks.catalogue import AnyAttack
from multav.audits.attack_doubts import ATTACK_DOUBTS, transfer
from multav.audits.evaluation import OnStep
from multav.audits.findings import Check
from multav.audits.logits import logits_of
from multav.audits.model_doubts import MODEL_DOUBTS
from multav.audits.request import Checks
from multav.audits.sample import Baseline, Sample, baseline
from multav.precision import Precision

_DOUBTS: Final[dict[str, Callable[[Sample, Baseline], Check]]] = {
    doubt.__name__: doubt for doubt in (*MODEL_DOUBTS, *ATTACK_DOUBTS)
}
DOUBTS: Final = (*_DOUBTS, transfer.__name__)
"""Names of everything that can be asked, in the order in which it is."""


def examine(
    model: nn.Module,
    name: str,
    clips: Tensor,
    labels: Tensor,
    indices: Sequence[int],
    attack: AnyAttack,
    checks: Checks,
    *,
    seed: int = 0,
    precision: Precision = "float32",
    others: Mapping[str, nn.Module] | None = None,
    doubts: Collection[str] = DOUBTS,
    check: Callable[[Check], None] | None = None,
    on_step: OnStep | None = None,
) -> list[Check]:
    """Every check of `model` (called `name` in sentences) under `attack`, the strongest whole-clip one of the audit.

    `clips` (n, 3, T, H, W) float32 in [0, 1] with `labels` int64 (n,) and the videos' `indices` are a random sample of
    the clips that the model knows. Not those on which the attack failed: what another attack reaches on these says
    nothing against it, as both fail on some. Clips that the model does not know are left out. `others` are models to
    craft on, by name, which take clips of the same size. Of `DOUBTS` only those in `doubts` are raised. `check` gets
    each finding as it comes; `on_step(step)` is called before each gradient or query and may raise. The model is given
    back as it was found.

    The same arguments give the same findings; each test of a sample raises a false alarm with a chance of at most
    `multav.audits.evidence.ALARM`.
    """
    found: list[Check] = []

    def note(finding: Check) -> None:
        found.append(finding)
        if check is not None:
            check(finding)

    known = logits_of(model, clips).argmax(1) == labels if len(clips) else torch.zeros(0, dtype=torch.bool)
    rows = known.nonzero()[:, 0].tolist()
    if not rows:
        note(
            Check(
                name="sample",
                question="Are there clips to ask about?",
                passed=None,
                detail=f"{name} knows none of the {len(clips)} clips, so that nothing could be asked",
                numbers={"clips": len(clips)},
            )
        )
        return found
    sample = Sample(
        model,
        clips[rows],
        labels[rows],
        tuple(indices[row] for row in rows),
        attack,
        checks,
        seed,
        precision,
        on_step,
    )
    base = baseline(sample)
    for name, doubt in _DOUBTS.items():
        if name in doubts:
            note(doubt(sample, base))
    if transfer.__name__ in doubts:
        note(transfer(sample, base, others or {}))
    return found
