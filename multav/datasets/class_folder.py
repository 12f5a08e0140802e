"""Any tree with one folder of videos per class. Torch-free."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from multav.datasets.gathering import Gathering, in_short
from multav.datasets.listing import Listing
from multav.datasets.spec import Classes, DatasetSpec
from multav.datasets.tree import RelativePath, Tree, is_video, joined
from multav.errors import BadDataset


class ClassFolder(DatasetSpec):
    """`<class>/**/*.mp4` (or any other suffix of a video): the folder's name is the class.

    Classes are sorted by name unless `classes` gives their order (Python's `sorted`, capitals first). Videos that lie
    together in a folder below their class's are one group; every other video is its own.
    """

    meaning: ClassVar[str] = "any folder with one folder of videos per class"

    kind: Literal["class-folder"] = "class-folder"
    folder: RelativePath = Field(".", description="where the class folders lie, within the root")
    classes: Classes | None = Field(
        None, description="the classes in the order of their indices; null: all folders, sorted"
    )

    def listing(self, root: Path) -> Listing:
        """All videos, class by class, sorted by path."""
        tree = Tree(root)
        if not tree.has_folder(self.folder):
            raise BadDataset(f"there is no folder {self.folder} in the dataset's folder")
        found = tree.folders(self.folder)
        classes = self.classes or found
        if lacking := [name for name in classes if name not in found]:
            raise BadDataset(
                f"no folder for these classes: {in_short(lacking)}; the folders are {in_short(found)}"
            )
        if len(classes) < 2:
            raise BadDataset(
                f"one folder per class is expected in {self.folder}, and at least two; found {in_short(found)}. "
                "If they lie deeper, say where with folder"
            )
        gathering = Gathering(tree, classes)
        for label, name in enumerate(classes):
            top = joined(self.folder, name)
            for video in tree.videos(top):
                above = video.rpartition("/")[0]
                gathering.add(video, label, video if above == top else above, where=top)
        return gathering.listing(self._remarks(tree, found, classes))

    def _remarks(self, tree: Tree, found: tuple[str, ...], classes: tuple[str, ...]) -> list[str]:
        remarks = []
        if others := sorted(set(found) - set(classes)):
            remarks.append(f"folders that are no class: {in_short(others)}")
        if stray := [name for name in tree.files(self.folder) if is_video(name)]:
            remarks.append(f"videos outside of any class folder: {in_short(stray)}")
        return remarks
