"""A CSV or JSONL file that names videos and their labels. Torch-free."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, StrictStr

from multav.datasets.gathering import Gathering
from multav.datasets.list_file import ListFile
from multav.datasets.listing import Listing
from multav.datasets.spec import Classes, DatasetSpec
from multav.datasets.tree import RelativePath, Tree, joined
from multav.errors import BadDataset

FIELDS: Final = ("path", "label", "group", "subset")
_LONGEST_LABEL: Final = 200


class Manifest(DatasetSpec):
    """A table with the columns `path`, `label` and, if wanted, `group` and `subset`; one video a row.

    A label is a class's name, or its index from 0 where `classes` says what the indices mean. Other columns are
    ignored. A video without a group is its own.
    """

    meaning: ClassVar[str] = "a CSV or JSONL file with the path and label of each video"

    kind: Literal["manifest"] = "manifest"
    file: RelativePath = Field("manifest.csv", description="the table; JSON lines where it ends in .jsonl")
    folder: RelativePath = Field(".", description="what the paths are relative to, within the root")
    subset: StrictStr | None = Field(None, description="only rows of this subset; null: all rows")
    classes: Classes | None = Field(
        None, description="the classes in the order of their indices; null: all names in the table, sorted"
    )

    def listing(self, root: Path) -> Listing:
        """The rows of the subset, in their order. The classes are those of the whole table, whatever the subset."""
        tree = Tree(root)
        file = ListFile(tree, self.file)
        rows = [*(_json_rows(file) if self.file.lower().endswith(".jsonl") else _csv_rows(file))]
        if not rows:
            raise BadDataset(f"{file.name} names no video")
        classes = self.classes or _names(file, rows)
        indices = {name: index for index, name in enumerate(classes)}
        subsets = dict.fromkeys(_text(row, "subset") for _, row in rows)
        if self.subset is not None and self.subset not in subsets:
            known = ", ".join(repr(each) for each in subsets if each is not None) or "none"
            raise BadDataset(
                f"{file.name} has no row of the subset {self.subset!r}; its subsets are: {known}"
            )
        gathering = Gathering(tree, classes)
        for number, row in rows:
            label = _index(file, number, row["label"], indices)
            if self.subset is None or _text(row, "subset") == self.subset:
                name = joined(self.folder, file.path_in(number, str(row["path"])))
                group = _text(row, "group") or name
                gathering.add(name, label, group, where=f"{file.name}, line {number}")
        return gathering.listing()


def _csv_rows(file: ListFile) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, fields) of each row of a table with a head."""
    for number, row in file.table(("path", "label")):
        yield number, _checked(file, number, row)


def _json_rows(file: ListFile) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, fields) of each line."""
    for number, line in file.lines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            file.refuse(number, 'a JSON object, like {"path": "a.mp4", "label": "walk"}', line)
        yield number, _checked(file, number, row)


def _checked(file: ListFile, number: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """`row`, if its fields are of the right kind."""
    label = row.get("label")
    right = (
        isinstance(row.get("path"), str)
        and row["path"] != ""
        and isinstance(label, str | int)
        and not isinstance(label, bool)
        and label != ""
        and all(isinstance(row.get(name), str | int | None) for name in ("group", "subset"))
    )
    if not right:
        file.refuse(number, "a path (text) and a label (text or index)", json.dumps(dict(row), default=str))
    texts = [str(row.get(name) or "") for name in ("label", "group", "subset")]
    if not all(text.isprintable() and len(text) <= _LONGEST_LABEL for text in texts):
        file.refuse(
            number,
            f"label, group and subset of at most {_LONGEST_LABEL} characters, none of them a control character",
            repr(texts),
        )
    return row


def _names(file: ListFile, rows: list[tuple[int, Mapping[str, Any]]]) -> tuple[str, ...]:
    """The labels as sorted names, where they are names."""
    labels = {row["label"] for _, row in rows}
    if all(_is_index(label) for label in labels):
        raise BadDataset(
            f"the labels of {file.name} are numbers: say with classes which names they stand for"
        )
    for number, row in rows:
        if isinstance(row["label"], int):
            file.refuse(
                number,
                "a name like the other labels (or classes, which say what indices mean)",
                str(row["label"]),
            )
    if len(labels) < 2:
        raise BadDataset(f"{file.name} has the one label {labels.pop()!r}: name all with classes")
    return tuple(sorted(labels))


def _index(file: ListFile, number: int, label: str | int, indices: Mapping[str, int]) -> int:
    """The index of a label; a text is a name if there is a class of that name, and else a number."""
    if isinstance(label, str) and label in indices:
        return indices[label]
    if _is_index(label) and int(label) < len(indices):
        return int(label)
    return file.refuse(number, f"one of the {len(indices)} classes, or its index from 0", str(label))


def _is_index(label: str | int) -> bool:
    return label >= 0 if isinstance(label, int) else label.isascii() and label.isdigit()


def _text(row: Mapping[str, Any], field: str) -> str | None:
    """A field as text; None where it is empty or not there."""
    value = row.get(field)
    return None if value is None or value == "" else str(value)
