"""What a dataset holds: classes in the order of their indices, and labelled videos. Torch-free."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice, repeat
from pathlib import Path


@dataclass(frozen=True)
class ListedVideo:
    """One labelled video. `index` is its place in the listing, which never changes for the same dataset.

    `name` is its path within the dataset's root (or the number of a made clip), `label` an index into the classes.
    Videos of one `group` were cut from the same source and are not independent. `path` is None where the clip is made
    and not read.
    """

    index: int
    name: str
    label: int
    group: str
    path: Path | None = None


@dataclass(frozen=True)
class Listing:
    """All videos that a dataset lists, whether or not their files are there (`missing` names those that are not).

    `remarks` say what is odd about it without being wrong: counts other than the official ones, files that no list
    names.
    """

    classes: tuple[str, ...]
    videos: tuple[ListedVideo, ...]
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default_factory=tuple)


def subset(
    listing: Listing,
    *,
    count: int | None = None,
    per_class: int | None = None,
    classes: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[ListedVideo, ...]:
    """The videos of `classes` that have those `names` (all if None), or of them a stratified draw of `count`, or
    `per_class` of each class.

    The draw depends on the listing and `seed` alone. Videos come in an order in which every beginning is stratified as
    well as it can be, so that an audit's first results speak for the whole. Raises `ValueError` for a class or a name
    that is not in the listing.
    """
    unknown = sorted(set(classes or ()) - set(listing.classes))
    if unknown:
        raise ValueError(f"the dataset has no class {', '.join(map(repr, unknown))}")
    kept = None if names is None else set(names)
    strangers = sorted((kept or set()) - {video.name for video in listing.videos})
    if strangers:
        raise ValueError(f"the dataset has no video {', '.join(map(repr, strangers[:8]))}")
    wanted = None if classes is None else {listing.classes.index(name) for name in classes}
    by_class: dict[int, list[ListedVideo]] = defaultdict(list)
    for video in listing.videos:
        if (wanted is None or video.label in wanted) and (kept is None or video.name in kept):
            by_class[video.label].append(video)
    places: list[tuple[float, int, ListedVideo]] = []
    for label, videos in sorted(by_class.items()):
        shuffled = sorted(videos, key=lambda video: video.index)
        random.Random(f"{seed}:{label}").shuffle(shuffled)
        drawn = shuffled if per_class is None else shuffled[:per_class]
        places += [(place, label, video) for place, video in zip(_spread(len(drawn)), drawn, strict=True)]
    ordered = [video for _, _, video in sorted(places, key=lambda place: place[:2])]
    return tuple(ordered if count is None else ordered[:count])


def drawn_per_class(videos: Sequence[int], count: int) -> list[int]:
    """How many videos of each class a `subset` of `count` holds, of classes of so many `videos`."""
    # Merged and not sorted: of a large dataset only the beginning is looked at.
    places = merge(*(zip(_spread(there), repeat(label)) for label, there in enumerate(videos)))
    drawn = Counter(label for _, label in islice(places, count))
    return [drawn[label] for label in range(len(videos))]


def _spread(count: int) -> Iterator[float]:
    """Where the videos of a class lie in the whole: evenly, so that a beginning holds every class's share."""
    return ((number + 0.5) / count for number in range(count))
