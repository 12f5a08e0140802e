"""UCF101 with its official split lists. Torch-free.

Two traps. The order of the classes is that of `classInd.txt` and not the alphabet's: HammerThrow and Hammering,
JumpRope and JumpingJack change places, and a model trained with one order loses those classes under the other. And
paths are taken from the lists, never put together from class names: the videos of HandstandPushups are called
v_HandStandPushups_*.
"""

import re
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final, Literal

from pydantic import Field

from multav.datasets.gathering import Gathering, in_short
from multav.datasets.list_file import ListFile, first_list
from multav.datasets.listing import Listing
from multav.datasets.spec import DatasetSpec, Split, TrainOrTest
from multav.datasets.tree import RelativePath, Tree, joined
from multav.errors import BadDataset

OFFICIAL: Final = {
    (1, "train"): 9537,
    (1, "test"): 3783,
    (2, "train"): 9586,
    (2, "test"): 3734,
    (3, "train"): 9624,
    (3, "test"): 3696,
}
"""Videos by split and subset."""

_CLASSES: Final = 101
_GROUP: Final = re.compile(r"_(g\d+)_c\d+$")


class Ucf101(DatasetSpec):
    """UCF101: `UCF-101/<Class>/v_*.avi` and the lists of `ucfTrainTestlist`, or a subset laid out like it."""

    meaning: ClassVar[str] = "UCF101 (101 human actions, 13,320 videos) by one of its three official splits"

    kind: Literal["ucf101"] = "ucf101"
    split: Split = Field(1, description="official split; the paper uses 1")
    subset: TrainOrTest = Field("test", description="which of the split's two lists")
    videos: RelativePath | None = Field(
        None, description="folder of the class folders; null: UCF-101 if there is one, else the root itself"
    )
    lists: RelativePath | None = Field(
        None, description="folder of the lists; null: ucfTrainTestlist if it is there, else the root itself"
    )

    def listing(self, root: Path) -> Listing:
        """The videos of the list, in its order; a group is a gNN within its class."""
        tree = Tree(root)
        lists = self._lists(tree)
        folder = self.videos or ("UCF-101" if tree.has_folder("UCF-101") else ".")
        classes = _classes(ListFile(tree, joined(lists, "classInd.txt")))
        gathering, named = Gathering(tree, tuple(classes)), set[str]()
        for list_file, name, label, where in _entries(
            ListFile(tree, joined(lists, f"{self.subset}list{self.split:02}.txt")), folder, classes
        ):
            gathering.add(name, label, _group(name, list_file), where=where)
            named.add(name)
        return gathering.listing(self._remarks(tree, lists, folder, classes, named))

    def _lists(self, tree: Tree) -> str:
        candidates = (
            (self.lists,) if self.lists else ("ucfTrainTestlist", ".", "UCF-101/ucfTrainTestlist", "UCF-101")
        )
        found = first_list(tree, candidates, "classInd.txt")
        if found is None:
            raise BadDataset(
                f"no classInd.txt in {' or '.join(candidates)}: the official lists of UCF101 (ucfTrainTestlist) "
                "belong into the dataset's folder, beside UCF-101"
            )
        return found.rpartition("/")[0] or "."

    def _remarks(
        self, tree: Tree, lists: str, folder: str, classes: dict[str, int], named: set[str]
    ) -> list[str]:
        remarks = []
        if len(classes) != _CLASSES:
            remarks.append(f"{len(classes)} classes where UCF101 has {_CLASSES}")
        official = OFFICIAL[self.split, self.subset]
        if len(named) != official:
            remarks.append(
                f"{len(named)} videos listed where the official {self.subset} list of split {self.split} has {official}"
            )
        other = "train" if self.subset == "test" else "test"
        path = joined(lists, f"{other}list{self.split:02}.txt")
        if tree.file(path) is None:
            return remarks
        others = {name for _, name, _, _ in _entries(ListFile(tree, path), folder, classes)}
        if shared := sorted(named & others):
            remarks.append(f"in the train list and in the test list: {in_short(shared)}")
        if stray := [name for name in tree.videos(folder) if name not in named and name not in others]:
            remarks.append(f"files that neither list of split {self.split} names: {in_short(stray)}")
        return remarks


def _classes(file: ListFile) -> dict[str, int]:
    """Indices from 0 by name, in the order of the numbers in classInd.txt."""
    by_number: dict[int, str] = {}
    for number, line in file.lines():
        words = line.split()
        if len(words) != 2 or not words[0].isascii() or not words[0].isdigit():
            file.refuse(number, 'a number from 1 and a class, like "1 ApplyEyeMakeup"', line)
        if int(words[0]) in by_number or words[1] in by_number.values():
            file.refuse(number, "each number and each class once", line)
        by_number[int(words[0])] = words[1]
    if not by_number:
        raise BadDataset(f"{file.name} names no class")
    if sorted(by_number) != list(range(1, len(by_number) + 1)):
        raise BadDataset(
            f"{file.name}: the classes must be numbered from 1 to {len(by_number)} without a gap"
        )
    return {by_number[number]: number - 1 for number in sorted(by_number)}


def _entries(file: ListFile, folder: str, classes: dict[str, int]) -> "list[tuple[str, str, int, str]]":
    """(class, path within the root, label, place in the list) of each line; train lists also carry the label."""
    entries = []
    for number, line in file.lines():
        path, _, label = line.partition(" ")
        path = file.path_in(number, path)
        first, _, rest = path.partition("/")
        if first not in classes or not rest:
            file.refuse(number, "<Class>/<video>.avi with a class of classInd.txt", line)
        if label.strip() and label.strip() != str(classes[first] + 1):
            file.refuse(number, f"{classes[first] + 1}, the number of {first} in classInd.txt", line)
        entries.append((first, joined(folder, path), classes[first], f"{file.name}, line {number}"))
    return entries


def _group(name: str, class_name: str) -> str:
    """Videos with one gNN were cut from one recording; the numbers start again in each class."""
    found = _GROUP.search(PurePosixPath(name).stem)
    return f"{class_name}/{found[1]}" if found else name
