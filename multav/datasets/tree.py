"""The files under a dataset's root, and nothing beyond it. Torch-free."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from multav.errors import BadDataset

SUFFIXES: Final = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".ogg", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
"""How files are named that hold a container which is read (`multav.video.container`); case does not count."""

_LONGEST_NAME: Final = 4096
_DEEPEST: Final = 16


def relative_name(name: str) -> str:
    """`name` as a path within a root, written with single slashes.

    Raises ValueError for what is not one: empty, absolute, with `..`, a backslash or control characters.
    """
    if not name or len(name) > _LONGEST_NAME:
        raise ValueError("a path within the dataset's folder is expected")
    if "\\" in name:
        raise ValueError("a path with / is expected, not with a backslash")
    if not name.isprintable():
        raise ValueError("a path without control characters, in UTF-8, is expected")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            "the path leads out of the dataset's folder: one without .. that does not begin with / is expected"
        )
    return path.as_posix()


RelativePath = Annotated[str, AfterValidator(relative_name)]
"""A field of a specification that names a file or folder within the root."""


Kind = Literal["file", "folder", "link", "other"]


class Tree:
    """The folder `root` as it is found: each folder is read once, when it is first asked about.

    A link may lead to another place within the root; one that leads out of it is refused, wherever it is met.
    Raises `BadDataset` where `root` is not a folder.
    """

    def __init__(self, root: Path) -> None:
        try:
            self.root = root.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise BadDataset(f"there is no folder {root}") from error
        if not self.root.is_dir():
            raise BadDataset(f"{root} is not a folder")
        self._folders: dict[str, dict[str, Kind]] = {}

    def file(self, name: str) -> Path | None:
        """Where the file `name` (see `relative_name`) is; None where there is no regular file."""
        folder, _, last = name.rpartition("/")
        kind = self._entries(folder).get(last)
        if kind == "link":
            target = self._within(self.root / name, name)
            return target if target.is_file() else None
        return self.root / name if kind == "file" else None

    def has_folder(self, name: str) -> bool:
        """Whether there is a folder `name`; "." is the root."""
        folder, _, last = name.rpartition("/")
        kind = "folder" if name == "." else self._entries(folder).get(last)
        return self._within(self.root / name, name).is_dir() if kind == "link" else kind == "folder"

    def folders(self, name: str) -> tuple[str, ...]:
        """Names of the folders in the folder `name`, sorted; hidden ones are left out."""
        shown = (each for each in self._entries(name) if not each.startswith("."))
        return tuple(sorted(each for each in shown if self.has_folder(joined(name, each))))

    def files(self, name: str) -> tuple[str, ...]:
        """Names of the regular files in the folder `name`, sorted; hidden ones are left out."""
        shown = (each for each in self._entries(name) if not each.startswith("."))
        return tuple(sorted(each for each in shown if self.file(joined(name, each))))

    def videos(self, folder: str, *, deepest: int = _DEEPEST) -> Iterator[str]:
        """Paths within the root of all files under `folder` that are named like videos, sorted folder by folder.

        Raises `BadDataset` for folders nested deeper than `deepest`, as a link to a folder above makes them, and for
        a file whose name is not text.
        """
        if deepest < 0:
            raise BadDataset(f"{folder}: folders are nested too deeply, or a link leads to a folder above it")
        for name in self.files(folder):
            if is_video(name):
                yield joined(folder, name)
        for name in self.folders(folder):
            yield from self.videos(joined(folder, name), deepest=deepest - 1)

    def _entries(self, folder: str) -> dict[str, Kind]:
        """What the folder `folder` holds, by name; nothing where it is not there."""
        folder = "" if folder == "." else folder
        if folder not in self._folders:
            place = self._within(self.root / folder, folder)
            try:
                with os.scandir(place) as entries:
                    self._folders[folder] = {_name_of(entry): _kind_of(entry) for entry in entries}
            except (FileNotFoundError, NotADirectoryError):
                self._folders[folder] = {}
            except OSError as error:
                raise BadDataset(f"the folder {folder or '.'} cannot be read: {error.strerror}") from error
        return self._folders[folder]

    def _within(self, place: Path, name: str) -> Path:
        """Where `place` really is. Raises `BadDataset` where a link has led out of the root."""
        real = Path(os.path.realpath(place))
        if not real.is_relative_to(self.root):
            raise BadDataset(
                f"{name} is a link that leads out of the dataset's folder: put the files themselves there"
            )
        return real


def is_video(name: str) -> bool:
    """Whether a file of that name should be a video."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def joined(*parts: str) -> str:
    """The path within the root that `parts` make, of which "" and "." stand for where one is."""
    return "/".join(part for part in parts if part not in ("", ".")) or "."


def _name_of(entry: "os.DirEntry[str]") -> str:
    # Names go into rows, reports and JSON, which are text; a new line in one would break a list of them.
    if not entry.name.isprintable():
        raise BadDataset(
            f"{entry.name!r} is not a name in UTF-8 without control characters: rename the file, or take it out"
        )
    return entry.name


def _kind_of(entry: "os.DirEntry[str]") -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"
