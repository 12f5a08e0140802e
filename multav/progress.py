"""How far a long piece of work has come, and how long the rest will take. Torch-free."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """`done` of `total` `unit`s; `eta_seconds` until the whole work ends, None while nothing is known."""

    done: int
    total: int
    unit: str
    eta_seconds: float | None


@dataclass
class Pace:
    """Measures the speed of a stage and reports progress with an ETA.

    `after_seconds` is what the stages after this one are expected to take.
    """

    total: int
    unit: str
    report: Callable[[Progress], None]
    after_seconds: float = 0.0
    done: int = 0
    _started: float = field(default_factory=time.monotonic)

    def advance(self, done: int = 1) -> None:
        """Count `done` more units and report."""
        self.done += done
        self.glimpse(0.0)

    def glimpse(self, begun: float) -> None:
        """Report that the worth of `begun` units has been done of those that are not yet counted."""
        passed = time.monotonic() - self._started
        worked = self.done + begun
        rest = passed / worked * (self.total - worked) + self.after_seconds if worked else None
        self.report(Progress(self.done, self.total, self.unit, rest))
