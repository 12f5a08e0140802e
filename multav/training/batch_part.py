"""What one rank has of a batch. Torch-free."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self


@dataclass(frozen=True)
class BatchPart:
    """The clips of rank number `rank` of a batch, where each rank has those at the places `given` to it, ascending.

    What is drawn for a clip depends on its place, so that it is the same however many ranks share a batch.
    """

    rank: int
    given: Sequence[Sequence[int]]

    @classmethod
    def all_of(cls, clips: int) -> Self:
        """A batch that nobody shares."""
        return cls(0, [range(clips)])

    @classmethod
    def of(cls, rank: int, given: Sequence[Sequence[int]]) -> Self:
        """The part of rank number `rank`, where each rank's videos gave clips at places `given`: gaps are closed."""
        left = sorted(place for places in given for place in places)
        at = {place: number for number, place in enumerate(left)}
        return cls(rank, [[at[place] for place in places] for places in given])

    @property
    def places(self) -> Sequence[int]:
        """Those of its own clips."""
        return self.given[self.rank]

    @property
    def whole(self) -> int:
        """Clips of the batch."""
        return sum(map(len, self.given))

    @property
    def fewest(self) -> int:
        """Clips of the rank that has fewest."""
        return min(map(len, self.given))

    def pieces(self, most: int) -> list[slice]:
        """Its own clips of each of `most` pieces, or fewer where a rank would have no clip of one.

        A piece is a stretch of the whole batch, so that it holds the same clips however many ranks share it; as many on
        each as can be, the larger ones first. Every rank must have a clip.
        """
        for count in range(max(1, most), 1, -1):
            size, larger = divmod(self.whole, count)
            ends = [number * size + min(number, larger) for number in range(count + 1)]
            cuts = [[bisect_left(places, end) for end in ends] for places in self.given]
            if all(start < end for each in cuts for start, end in pairwise(each)):
                return [slice(start, end) for start, end in pairwise(cuts[self.rank])]
        return [slice(0, len(self.places))]
