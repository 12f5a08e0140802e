"""What one rank has of a batch. Torch-free."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class BatchPart:
    """The clips at `places`, in ascending order, of a batch of `whole`; the rank that has fewest has `fewest`.

    What is drawn for a clip depends on its place, so that it is the same however many ranks share a batch.
    """

    places: Sequence[int]
    whole: int
    fewest: int

    @classmethod
    def all_of(cls, clips: int) -> Self:
        """A batch that nobody shares."""
        return cls(range(clips), clips, clips)

    @classmethod
    def of(cls, rank: int, given: Sequence[Sequence[int]]) -> Self:
        """The part of rank number `rank`, where each rank's videos gave clips at places `given`: gaps are closed."""
        left = sorted(place for places in given for place in places)
        at = {place: number for number, place in enumerate(left)}
        return cls([at[place] for place in given[rank]], len(left), min(map(len, given)))

    def before(self, place: int) -> int:
        """How many of its clips stand before `place`."""
        return bisect_left(self.places, place)
