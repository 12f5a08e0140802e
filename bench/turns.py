"""Timing several ways to do a thing in turn, so that what slows the machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Turns:
    """Wall times in seconds: a row for each round, in it one for each variant."""

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


def in_turn(variants: Sequence[Callable[[], object]], rounds: int) -> Turns:
    """Time every variant once a round; every second round goes through them backwards."""
    table = []
    for index in range(rounds):
        times = [0.0] * len(variants)
        order = range(len(variants)) if index % 2 == 0 else reversed(range(len(variants)))
        for variant in order:
            started = time.perf_counter()
            variants[variant]()
            times[variant] = time.perf_counter() - started
        table.append(tuple(times))
    return Turns(tuple(table))
