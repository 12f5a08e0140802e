"""HMDB51 with its official split lists. Torch-free.

There is one list per class and split, `<class>_test_split<k>.txt`, and each names every video of its class with a
flag: 0 for neither, 1 for train, 2 for test. So a class has the name of its lists without the last two fields, and the
classes are sorted.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final, Literal

from pydantic import Field

from multav.datasets.gathering import Gathering, in_short
from multav.datasets.list_file import ListFile
from multav.datasets.listing import Listing
from multav.datasets.spec import DatasetSpec, Split, TrainOrTest
from multav.datasets.tree import RelativePath, Tree, joined
from multav.errors import BadDataset

OFFICIAL: Final = {"train": 3570, "test": 1530}
"""Videos by subset, in each of the three splits: 70 and 30 of every class."""

_CLASSES: Final = 51
_FLAGS: Final = {"0": None, "1": "train", "2": "test"}


class Hmdb51(DatasetSpec):
    """HMDB51: `<class>/*.avi` and the lists of `testTrainMulti_7030_splits`, or a subset laid out like it."""

    meaning: ClassVar[str] = "HMDB51 (51 human actions, 6,766 videos) by one of its three official splits"

    kind: Literal["hmdb51"] = "hmdb51"
    split: Split = Field(1, description="official split")
    subset: TrainOrTest = Field("test", description="which of the split's two parts")
    videos: RelativePath | None = Field(
        None, description="folder of the class folders; null: hmdb51_org, HMDB51, videos or the root itself"
    )
    lists: RelativePath | None = Field(
        None,
        description="folder of the lists; null: testTrainMulti_7030_splits, splits or the root itself",
    )

    def listing(self, root: Path) -> Listing:
        """The videos of the lists, class by class; a group is what was cut from one film."""
        tree = Tree(root)
        lists = self._lists(tree)
        classes = sorted(lists)
        folder = self._videos(tree, classes)
        gathering, named, stray, count = Gathering(tree, classes), set[str](), list[str](), 0
        for label, name in enumerate(classes):
            for path, subset, where in _entries(ListFile(tree, lists[name]), joined(folder, name)):
                named.add(path)
                if subset == self.subset:
                    gathering.add(path, label, _film(path, name), where=where)
                    count += 1
            stray += [path for path in tree.videos(joined(folder, name)) if path not in named]
        return gathering.listing(self._remarks(classes, count, stray))

    def _lists(self, tree: Tree) -> dict[str, str]:
        """The list of each class."""
        candidates = (self.lists,) if self.lists else ("testTrainMulti_7030_splits", "splits", ".")
        ending = f"_test_split{self.split}.txt"
        for folder in candidates:
            found = {
                # "<class>_test_split1.txt" without its last two fields
                name.rsplit("_", 2)[0]: joined(folder, name)
                for name in tree.files(folder)
                if name.endswith(ending) and name != ending
            }
            if found:
                return found
        raise BadDataset(
            f"no list <class>{ending} in {' or '.join(candidates)}: the official lists of HMDB51 "
            "(test_train_splits.rar) belong into the dataset's folder"
        )

    def _videos(self, tree: Tree, classes: list[str]) -> str:
        if self.videos:
            return self.videos
        for folder in ("hmdb51_org", "HMDB51", "videos"):
            if any(tree.has_folder(joined(folder, name)) for name in classes):
                return folder
        return "."

    def _remarks(self, classes: list[str], count: int, stray: list[str]) -> list[str]:
        remarks = []
        if len(classes) != _CLASSES:
            remarks.append(f"{len(classes)} classes where HMDB51 has {_CLASSES}")
        if count != OFFICIAL[self.subset]:
            remarks.append(
                f"{count} videos listed where the official {self.subset} part of each split has "
                f"{OFFICIAL[self.subset]}"
            )
        if stray:
            remarks.append(f"files that no list of split {self.split} names: {in_short(stray)}")
        return remarks


def _entries(file: ListFile, folder: str) -> Iterator[tuple[str, str | None, str]]:
    """(path within the root, subset, place in the list) of each line."""
    for number, line in file.lines():
        name, _, flag = line.rpartition(" ")
        if not name.strip() or flag not in _FLAGS:
            file.refuse(number, "<video>.avi and 0 (unused), 1 (train) or 2 (test)", line)
        name = file.path_in(number, name.strip())
        yield joined(folder, name), _FLAGS[flag], f"{file.name}, line {number}"


def _film(path: str, class_name: str) -> str:
    """The film that a video was cut from: what stands before the class in its name.

    `April_09_brush_hair_u_nm_np1_ba_goo_0.avi` is from April_09. A film may show several actions, so films are not
    kept apart by class.
    """
    stem = PurePosixPath(path).stem
    film, found, _ = stem.rpartition(f"_{class_name}_")
    if found:
        return film
    # Body part, camera, people, view, quality and number end every name, whatever it calls the action.
    return re.sub(r"_[a-z]+_[a-z]+_np\d+_[a-z]+_[a-z]+_\d+$", "", stem)
