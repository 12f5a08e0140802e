"""A list file of a dataset, read line by line; what is wrong in it is said with file, line and what was expected."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final, NoReturn

from multav.datasets.tree import Tree, joined, relative_name
from multav.errors import BadDataset

_MOST_BYTES: Final = 512 * 2**20


class ListFile:
    """The text file `name` of `tree`: UTF-8, with or without a byte-order mark, lines ended as on any system.

    Raises `BadDataset` where it is not there or cannot be read.
    """

    def __init__(self, tree: Tree, name: str) -> None:
        self.name = name
        path = tree.file(name)
        if path is None:
            raise BadDataset(f"there is no file {name} in the dataset's folder")
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise BadDataset(f"{name} is larger than {_MOST_BYTES} bytes, and so no list that is read")
            self._bytes = path.read_bytes()
        except OSError as error:
            raise BadDataset(f"{name} cannot be read: {error.strerror}") from error

    def lines(self) -> Iterator[tuple[int, str]]:
        """(number from 1, text without what surrounds it) of every line that is not empty."""
        text = self._bytes.removeprefix(b"\xef\xbb\xbf")
        for number, line in enumerate(text.split(b"\n"), start=1):
            try:
                words = line.decode().strip()
            except UnicodeDecodeError:
                self.refuse(number, "text in UTF-8", line.decode("latin-1"))
            if words:
                yield number, words

    def text(self) -> str:
        """The whole file."""
        text = self._bytes.removeprefix(b"\xef\xbb\xbf")
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            self.refuse(
                text.count(b"\n", 0, error.start) + 1, "text in UTF-8", repr(text[error.start :][:20])
            )

    def table(self, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
        """(line, fields by column) of each row of a CSV file with a head that has `columns` at least.

        The head's case does not count; a row has as many fields as the head, without what surrounds them.
        """
        reader = csv.reader(io.StringIO(self.text(), newline=""), skipinitialspace=True, strict=True)
        try:
            head = [each.strip().lower() for each in next(reader, [])]
            if lacking := [name for name in columns if name not in head]:
                self.refuse(
                    1, f"a head with {','.join(columns)} (lacking: {', '.join(lacking)})", ",".join(head)
                )
            if len(set(head)) < len(head):
                self.refuse(1, "each column once", ",".join(head))
            for cells in reader:
                if not any(each.strip() for each in cells):
                    continue
                if len(cells) != len(head):
                    self.refuse(reader.line_num, f"{len(head)} fields, as in the head", ",".join(cells))
                yield reader.line_num, {name: cell.strip() for name, cell in zip(head, cells, strict=True)}
        except csv.Error as error:
            self.refuse(max(1, reader.line_num), "", "", because=f"this is not CSV ({error})")

    def path_in(self, number: int, name: str) -> str:
        """`name`, read from line `number`, as a path within the root."""
        try:
            return relative_name(name)
        except ValueError as error:
            self.refuse(number, "", name, because=str(error))

    def refuse(self, number: int, expected: str, found: str, *, because: str = "") -> NoReturn:
        """Raise `BadDataset` for line `number`."""
        why = because or f"expected {expected}"
        raise BadDataset(f"{self.name}, line {number}: {why}; found {found[:120]!r}")


def first_list(tree: Tree, folders: Sequence[str], name: str) -> str | None:
    """The path of the first file `name` in one of `folders`."""
    return next((joined(each, name) for each in folders if tree.file(joined(each, name))), None)
