"""Timing several ways to do a thing in turn, so that what slows the machine slows all of them.

Wall time is what a user waits for. On a machine that others use, the processor time of one thread says more: it
stands still while they run. Work on a GPU is waited for before the clock is read.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch

CLOCKS: Final[dict[str, Callable[[], float]]] = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Turns:
    """Times in seconds: a row for each round, in it one for each variant."""

    rounds: tuple[tuple[float, ...], ...]

    def median(self, variant: int) -> float:
        """The middle time of a variant."""
        return statistics.median(times[variant] for times in self.rounds)

    def least(self, variant: int) -> float:
        """The shortest time of a variant: the one that others disturbed least."""
        return min(times[variant] for times in self.rounds)

    def ratio(self, one: int, other: int) -> float:
        """Median over the rounds of `one` / `other` within a round."""
        return statistics.median(times[one] / times[other] for times in self.rounds)

    def ratio_of_least(self, one: int, other: int) -> float:
        """Shortest time of `one` / shortest time of `other`."""
        return self.least(one) / self.least(other)


def in_turn(
    variants: Sequence[Callable[[], object]], rounds: int, clock: str = "wall", device: str = "cpu"
) -> Turns:
    """Time every variant once a round by one of `CLOCKS`; every second round goes through them backwards."""

    def now() -> float:
        if device != "cpu":
            torch.cuda.synchronize(device)
        return CLOCKS[clock]()

    table = []
    for index in range(rounds):
        times = [0.0] * len(variants)
        order = range(len(variants)) if index % 2 == 0 else reversed(range(len(variants)))
        for variant in order:
            started = now()
            variants[variant]()
            times[variant] = now() - started
        table.append(tuple(times))
    return Turns(tuple(table))
