"""Whether a training still goes somewhere."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from multav.errors import TrainingDiverged

_REMEMBERED: Final = 50
_FEWEST: Final = 10
_EXPLODES: Final = 1000.0
# A network that knows its clips has next to no gradient; that one is a thousand times as long then says nothing.
_SMALLEST_USUAL: Final = 1e-2
_IN_A_ROW: Final = 3
_ADVICE: Final = (
    "take a smaller learning rate, a warm-up (schedule.warm_up), a gradient_norm that cuts gradients, or a ramp of the "
    "attack; the last checkpoint before it is kept"
)


@dataclass
class Watch:
    """Looks at every step's loss and length of the gradient. `norms` are the last ones, `wild` how many in a row were
    far above them.
    """

    norms: list[float] = field(default_factory=list)
    wild: int = 0

    def look(self, step: int, loss: float, norm: float) -> None:
        """Raise `TrainingDiverged` where a figure is no number, or gradients explode."""
        for name, value in (("the loss", loss), ("the length of the gradient", norm)):
            if not math.isfinite(value):
                raise TrainingDiverged(f"{name} is {value} at step {step + 1}: {_ADVICE}")
        usual = statistics.median(self.norms) if len(self.norms) >= _FEWEST else math.inf
        self.wild = self.wild + 1 if norm > _EXPLODES * max(usual, _SMALLEST_USUAL) else 0
        if self.wild >= _IN_A_ROW:
            raise TrainingDiverged(
                f"gradients explode: at step {step + 1} their length is {norm:.3g} where {usual:.3g} was usual: "
                f"{_ADVICE}"
            )
        if not self.wild:
            self.norms = [*self.norms, norm][-_REMEMBERED:]

    def state(self) -> dict[str, Sequence[float] | int]:
        """What it remembers, as JSON."""
        return {"norms": list(self.norms), "wild": self.wild}
