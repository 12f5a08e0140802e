"""Putting a listing together: each video once, files that are not there named, contradictions refused. Torch-free."""

from collections.abc import Iterable, Sequence
from typing import Final

from multav.datasets.listing import ListedVideo, Listing
from multav.datasets.tree import Tree
from multav.errors import BadDataset

MOST_VIDEOS: Final = 2_000_000
_NAMED: Final = 3


class Gathering:
    """The videos of a dataset so far, in the order in which they are listed."""

    def __init__(self, tree: Tree, classes: Sequence[str]) -> None:
        self._tree = tree
        self._classes = tuple(classes)
        self._videos: dict[str, ListedVideo] = {}
        self._missing: list[str] = []
        self._twice: list[str] = []

    def add(self, name: str, label: int, group: str, *, where: str) -> None:
        """List the video `name` (a path within the root), found at `where` (for errors)."""
        before = self._videos.get(name)
        if before is not None:
            if before.label != label:
                raise BadDataset(
                    f"{where}: {name} is listed as {self._classes[label]!r} here and as "
                    f"{self._classes[before.label]!r} before: a video has one label"
                )
            self._twice.append(name)
            return
        if len(self._videos) >= MOST_VIDEOS:
            raise BadDataset(f"{where}: more than {MOST_VIDEOS} videos are listed")
        path = self._tree.file(name)
        if path is None:
            self._missing.append(name)
        self._videos[name] = ListedVideo(
            index=len(self._videos),
            name=name,
            label=label,
            group=group,
            path=self._tree.root / name if path is None else path,
        )

    def listing(self, remarks: Iterable[str] = ()) -> Listing:
        """The finished listing. Raises `BadDataset` where it has no videos, or where not one of them is there."""
        if not self._videos:
            raise BadDataset("the dataset is empty: no video is listed")
        if len(self._missing) == len(self._videos):
            raise BadDataset(
                f"none of the {len(self._videos)} listed videos is there: the first is expected at {self._missing[0]} "
                f"in the dataset's folder"
            )
        found = list(remarks)
        if self._twice:
            found.insert(0, f"listed more than once, and counted once: {in_short(self._twice)}")
        empty = sorted(set(range(len(self._classes))) - {video.label for video in self._videos.values()})
        if empty:
            found.append(f"classes without a video: {in_short([self._classes[label] for label in empty])}")
        return Listing(
            classes=self._classes,
            videos=tuple(self._videos.values()),
            missing=tuple(self._missing),
            remarks=tuple(found),
        )


def in_short(names: Sequence[str]) -> str:
    """How many `names` there are, and the first of them."""
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names)} ({', '.join(names[:_NAMED])}{more})"
