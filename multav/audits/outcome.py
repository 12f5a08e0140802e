"""What an audit knows of one clip: the row that every number of a report is counted from. Torch-free."""

from dataclasses import dataclass
from typing import Final

CLEAN: Final = "clean"
"""The cell of the clips as they are."""


@dataclass(frozen=True)
class Outcome:
    """One (model, cell, clip): `clip` is the video's index in its dataset's listing.

    `tested_on` is another model than `model`, which the attack was crafted on, only for transfer. In the cell `CLEAN`
    nothing is attacked: `predicted` is the clean prediction. `attacked` is False where the clean prediction was wrong
    already, so that nothing was left to attack; `predicted` then repeats it. `problem` says why a video gave no clip;
    all numbers are then None. Confidences are probabilities of the predicted class. `size` is the largest ratio
    max(x'/x, x/x') of multiplicative attacks, the largest difference of additive ones; `l2` the norm of the difference,
    `changed` the share of the pixels that differ. `epsilon` is the smallest bound that was found to fool the model, in
    cells that look for it (None: none up to the largest that was tried). `seconds` is this clip's share of its batch.
    """

    model: str
    cell: str
    clip: int
    label: int
    tested_on: str
    clean: int | None = None
    clean_confidence: float | None = None
    predicted: int | None = None
    confidence: float | None = None
    attacked: bool = False
    loss_start: float | None = None
    loss_end: float | None = None
    size: float | None = None
    l2: float | None = None
    changed: float | None = None
    epsilon: float | None = None
    gradients: int = 0
    seconds: float = 0.0
    problem: str | None = None

    @property
    def right(self) -> bool:
        """Whether the prediction of this row is the label."""
        return self.predicted == self.label
