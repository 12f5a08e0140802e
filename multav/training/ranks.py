"""Processes that share a training, each on a device of its own: its ranks. What is here is one alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

Own = TypeVar("Own")


@dataclass(frozen=True)
class Ranks:
    """Rank number `rank` of `size`, by itself. `multav.training.joined_ranks` has those that work together."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and reports for all."""
        return self.rank == 0

    def together(self, work: Callable[[], tuple[Own, Any]]) -> tuple[Own, list[Any]]:
        """What `work` gives here, and what it tells (JSON) on each of the ranks, in their order.

        `work` itself must not wait for another rank. Where it raises on some of them, all raise the error of the first
        of these, once each has come to its end.
        """
        own, told = work()
        return own, [told]

    def network(self, model: nn.Module) -> nn.Module:
        """`model` for training passes: the same weights, whose gradients are the mean of those of all ranks."""
        return model
