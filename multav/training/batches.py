"""Batches of clips, decoded ahead while earlier ones are trained on."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

import torch
from torch import Tensor

from multav.datasets.clips import LoadedClip
from multav.datasets.decode_ahead import ClipSource, decode_ahead
from multav.datasets.listing import ListedVideo
from multav.datasets.recipes import Recipe
from multav.errors import BadVideo
from multav.geometry import InputGeometry
from multav.training.draws import generator_of
from multav.video.limits import Limits

_BATCHES_AHEAD: Final = 3
_MOST_BYTES_AHEAD: Final = 2**29


class Batch(NamedTuple):
    """Clips (B, 3, T, H, W) in [0, 1], labels (B,), places in the listing, and places among the videos asked for."""

    clips: Tensor
    labels: Tensor
    numbers: list[int]
    places: list[int]


@dataclass
class Batches:
    """Where clips come from. `bad` collects, by name, what is wrong with videos that give none; `waited` seconds."""

    geometry: InputGeometry
    recipe: Recipe
    limits: Limits
    source: ClipSource
    decoders: int
    device: torch.device
    check: Callable[[], None]
    bad: dict[str, str] = field(default_factory=dict)
    waited: float = 0.0

    def of(self, videos: Iterable[ListedVideo], size: int) -> Generator[Batch, None, None]:
        """Batches of `size` videos, in their order.

        Bad videos leave a gap, so that a batch may be smaller, and even empty. To be closed.
        """
        loaded = decode_ahead(
            videos,
            self.geometry,
            self.recipe,
            self.limits,
            cache=self.source,
            workers=self.decoders,
            ahead=self._ahead(size),
            check=self.check,
        )
        with closing(loaded):
            while pairs := self._next(loaded, size):
                yield self._batch(pairs)

    def _ahead(self, size: int) -> int:
        """Clips that are made before they are wanted: some batches, as far as memory is meant for it."""
        geometry = self.geometry
        one = 3 * geometry.frames * geometry.height * geometry.width
        return max(self.decoders, min(_BATCHES_AHEAD * size, _MOST_BYTES_AHEAD // one))

    def _next(
        self, loaded: Iterator[tuple[ListedVideo, LoadedClip | BadVideo]], size: int
    ) -> list[tuple[ListedVideo, LoadedClip | BadVideo]]:
        started = time.monotonic()
        pairs = list(islice(loaded, size))
        self.waited += time.monotonic() - started
        return pairs

    def _batch(self, pairs: Sequence[tuple[ListedVideo, LoadedClip | BadVideo]]) -> Batch:
        kept: list[tuple[ListedVideo, Tensor]] = []
        places: list[int] = []
        for place, (video, clip) in enumerate(pairs):
            if isinstance(clip, BadVideo):
                self.bad[video.name] = clip.detail
            else:
                # Of several windows the first: recipes of one window are asked for.
                kept.append((video, clip.levels[0]))
                places.append(place)
        labels = torch.tensor([video.label for video, _ in kept], dtype=torch.int64, device=self.device)
        if not kept:
            return Batch(torch.empty(0, device=self.device), labels, [], [])
        levels = torch.stack([clip for _, clip in kept]).to(self.device)
        return Batch(levels.float().div_(255), labels, [video.index for video, _ in kept], places)


def training_order(
    videos: Sequence[ListedVideo],
    *,
    batch: int,
    first_batch: int,
    batches: int,
    seed: int,
    rank: int = 0,
    ranks: int = 1,
) -> Iterator[ListedVideo]:
    """The videos of batches `first_batch` up to `batches` (not included), each of `batch` videos.

    Of each batch every `ranks`-th from number `rank` on: then a piece of a batch is the same videos for any number of
    ranks, where it can be divided by it.

    Every epoch goes through the videos in an order of its own; what is left of it behind the last whole batch is
    dropped (paper-facts E1).
    """
    per_epoch = len(videos) // batch
    order: list[int] = []
    drawn = -1
    for number in range(first_batch, batches):
        epoch, place = divmod(number, per_epoch)
        if epoch != drawn:
            order = torch.randperm(len(videos), generator=generator_of(seed, "order", epoch)).tolist()
            drawn = epoch
        for index in order[place * batch : (place + 1) * batch][rank::ranks]:
            yield videos[index]
