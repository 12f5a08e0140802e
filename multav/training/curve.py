"""What is noted while a model is trained. Torch-free."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CurvePoint:
    """One point of the curves: `step` optimiser steps are done. None: not measured there.

    Series "step": `loss` and `accuracy` are means over the steps since the point before, on the clips as they were
    trained on (attacked, where the training is adversarial); `learning_rate` and `gradient_norm` are those of the last
    step; `waiting` is the share of the time that was spent waiting for clips.

    Series "look": accuracies in [0, 1] of the weights that would be registered, on the validation clips and on some
    training clips; `loss` is the clean cross-entropy on the validation clips; `best` says whether it was the best look
    so far.
    """

    series: Literal["step", "look"]
    step: int
    epoch: float
    loss: float | None = None
    accuracy: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    waiting: float | None = None
    clean_accuracy: float | None = None
    robust_accuracy: float | None = None
    train_clean_accuracy: float | None = None
    train_robust_accuracy: float | None = None
    best: bool | None = None
