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
# Losses whose median is judged, and how many there must be: one batch may be hard, or easy where it comes again.
_RECENT: Final = 10
_FEWEST_RECENT: Final = 5
# Times the loss of chance. Overconfident networks that meet a strong attack have five times that; weights that were
# thrown far away by too high a rate have hundreds.
_HOPELESS: Final = 30.0
# That of ten classes: networks that tell fewer apart are no less overconfident.
_SMALLEST_CHANCE: Final = 2.3
# Times the loss that the network came with: a start may be as bad as it likes, if it gets better.
_WORSENED: Final = 10.0
_ADVICE: Final = (
    "take a smaller learning rate, a warm-up (schedule.warm_up), a gradient_norm that cuts gradients, or a ramp of the "
    "attack; the last checkpoint before it, if there was one, is kept"
)


@dataclass
class Watch:
    """Looks at every step's loss and length of the gradient. `norms` are the last ones, `wild` how many in a row were
    far above them; `first` is the loss that the network came with, `losses` are the last ones, and `lost` says how many
    times in a row their median was hopeless.
    """

    norms: list[float] = field(default_factory=list)
    wild: int = 0
    first: float | None = None
    losses: list[float] = field(default_factory=list)
    lost: int = 0
    doubtful: bool = field(default=False, compare=False)
    """Whether the last step looked as those do that lead to nothing: its weights are not to be gone back to."""

    def look(self, step: int, loss: float, norm: float, chance: float) -> None:
        """Raise `TrainingDiverged` where a figure is no number, or losses or gradients explode.

        `chance` is the loss of a network that knows nothing, or what counts as it.
        """
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
        self._look_at_loss(step, loss, chance)

    def _look_at_loss(self, step: int, loss: float, chance: float) -> None:
        """Too high a rate throws the weights away in its first steps, when no gradient is known to be usual; a network
        with batch norm then comes to rest there, and would pass for one that has been trained.
        """
        if self.first is None:
            # Before any step was taken.
            self.first = loss
        self.losses = [*self.losses, loss][-_RECENT:]
        usual = statistics.median(self.losses) if len(self.losses) >= _FEWEST_RECENT else 0.0
        hopeless = max(_HOPELESS * max(chance, _SMALLEST_CHANCE), _WORSENED * self.first)
        self.lost = self.lost + 1 if usual > hopeless else 0
        self.doubtful = bool(self.wild or self.lost) or loss > hopeless
        if self.lost >= _IN_A_ROW:
            raise TrainingDiverged(
                f"the loss explodes: at step {step + 1} it is {loss:.3g}, and {usual:.3g} is usual by now, where "
                f"guessing has {chance:.3g}: {_ADVICE}"
            )

    def state(self) -> dict[str, Sequence[float] | float | int | None]:
        """What it remembers, as JSON."""
        return {
            "norms": list(self.norms),
            "wild": self.wild,
            "first": self.first,
            "losses": list(self.losses),
            "lost": self.lost,
        }
