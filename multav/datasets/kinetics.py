"""Kinetics-400, 600 and 700 with their official csv lists. Torch-free.

Videos vanish from the web, so that some are missing is normal: they are counted and named, not complained about.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import Field

from multav.datasets.gathering import Gathering, in_short
from multav.datasets.list_file import ListFile
from multav.datasets.listing import Listing
from multav.datasets.spec import DatasetSpec
from multav.datasets.tree import RelativePath, Tree, is_video, joined
from multav.errors import BadDataset

COLUMNS: Final = ("label", "youtube_id", "time_start", "time_end", "split")

_SPELLINGS: Final = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}
_LIST_FOLDERS: Final = (".", "annotations")
_USUAL_SUFFIXES: Final = (".mp4", ".mkv", ".webm", ".avi")
_CLEANED: Final = str.maketrans({" ": "_", "'": None, "(": None, ")": None})

Row = tuple[int, str, str]
"""Line, label, clip id."""


class Kinetics(DatasetSpec):
    """Kinetics: `<split>/<label>/<id>_<start>_<end>.mp4` and `<split>.csv`, or another of the usual layouts.

    A clip is looked for under `<split>/<label>/`, `<label>/`, `<split>/` and the root, as `<clip>.mp4` (or another
    suffix) and as the only video in a folder `<clip>/`; labels as they are, and as torchvision writes
    them (air_drumming).
    """

    meaning: ClassVar[str] = "Kinetics-400, 600 or 700 by its official csv lists"

    kind: Literal["kinetics"] = "kinetics"
    version: Literal[400, 600, 700] = Field(400, description="how many classes the release has")
    subset: Literal["train", "val", "test"] = Field("val", description="which list")
    videos: RelativePath = Field(".", description="folder of the split or class folders, within the root")
    file: RelativePath | None = Field(
        None, description="the csv; null: <split>.csv or kinetics*_<split>.csv in the root or in annotations"
    )
    train_list: RelativePath | None = Field(
        None, description="the csv of the train split, for the order of the classes; null: looked for alike"
    )
    class_order: Literal["first-appearance", "sorted"] = Field(
        "first-appearance",
        description="how classes are numbered: as they first appear in the train csv (as Hara et al. do; sorted where "
        "there is no train csv), or sorted (as torchvision does)",
    )

    def listing(self, root: Path) -> Listing:
        """The clips of the list, in its order; clips of one video of YouTube are one group."""
        tree = Tree(root)
        name = self.file or self._found(tree, self.subset)
        if name is None:
            raise BadDataset(
                f"no list {self.subset}.csv or kinetics{self.version}_{self.subset}.csv in the dataset's folder or in "
                "annotations: say where with file"
            )
        file = ListFile(tree, name)
        rows = [*_rows(file)]
        classes, remarks = self._classes(tree, file, rows)
        gathering = Gathering(tree, classes)
        labels = {name: index for index, name in enumerate(classes)}
        for number, label, clip in rows:
            if label not in labels:
                file.refuse(number, "a label that the train list has too", label)
            found = self._place(tree, label, clip)
            gathering.add(found, labels[label], clip.rsplit("_", 2)[0], where=f"{name}, line {number}")
        listing = gathering.listing(remarks)
        return replace(
            listing, remarks=(*listing.remarks, *self._stray(tree, {each.name for each in listing.videos}))
        )

    def _found(self, tree: Tree, subset: str) -> str | None:
        """The first list of `subset` under one of its usual names."""
        for folder in _LIST_FOLDERS:
            for spelling in _SPELLINGS[subset]:
                for start in (
                    "",
                    f"kinetics_{self.version}_",
                    f"kinetics-{self.version}_",
                    f"kinetics{self.version}_",
                ):
                    name = joined(folder, f"{start}{spelling}.csv")
                    if tree.file(name):
                        return name
        return None

    def _classes(self, tree: Tree, file: ListFile, rows: list[Row]) -> tuple[tuple[str, ...], list[str]]:
        """The classes in their order, and remarks on them."""
        remarks = []
        train = self.train_list or self._found(tree, "train")
        if train is not None:
            rows = rows if train == file.name else [*_rows(ListFile(tree, train))]
        elif self.class_order == "first-appearance":
            remarks.append("there is no train csv to take the order of the classes from: they are sorted")
        classes = tuple(dict.fromkeys(label for _, label, _ in rows))
        if train is None or self.class_order == "sorted":
            classes = tuple(sorted(classes))
        if len(classes) != self.version:
            remarks.append(f"{len(classes)} classes where Kinetics-{self.version} has {self.version}")
        return classes, remarks

    def _stray(self, tree: Tree, named: set[str]) -> list[str]:
        """A remark on files in the folder of the split that its list does not name."""
        folders = (joined(self.videos, spelling) for spelling in _SPELLINGS[self.subset])
        stray = [name for folder in folders for name in tree.videos(folder) if name not in named]
        return [f"files that the {self.subset} list does not name: {in_short(stray)}"] if stray else []

    def _place(self, tree: Tree, label: str, clip: str) -> str:
        """Where the clip is; where it would be expected if it is nowhere."""
        folders = [
            joined(self.videos, top, below)
            for below in (label, label.translate(_CLEANED), "")
            for top in (*_SPELLINGS[self.subset], "")
        ]
        for folder in folders:
            for suffix in _USUAL_SUFFIXES:
                name = joined(folder, f"{clip}{suffix}")
                if tree.file(name):
                    return name
            below = joined(folder, clip)
            if tree.has_folder(below):
                inside = [name for name in tree.files(below) if is_video(name)]
                if len(inside) == 1:
                    return joined(below, inside[0])
        return joined(folders[0], f"{clip}.mp4")


def _rows(file: ListFile) -> Iterator[Row]:
    """(line, label, clip id) of each row: the id is "%s_%06d_%06d" of video, start and end in seconds."""
    for number, row in file.table(COLUMNS):
        start, end = _second(row["time_start"]), _second(row["time_end"])
        if not row["label"] or not row["youtube_id"] or start is None or end is None:
            file.refuse(number, f"{','.join(COLUMNS)} with whole seconds", ",".join(row.values()))
        for part in (row["label"], row["youtube_id"]):
            if "/" in file.path_in(number, part):
                file.refuse(number, "a label and a video id without /", part)
        yield number, row["label"], f"{row['youtube_id']}_{start:06d}_{end:06d}"


def _second(text: str) -> int | None:
    """Whole seconds, also written as 10.0; None where it is no number of them."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() and 0 <= value < 1_000_000 else None
