"""The outcomes as files: CSV for a spreadsheet, Parquet for everything else. Both are written row by row."""

import csv
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from multav.audits.cells import Cell
from multav.audits.outcome import Outcome
from multav.datasets.listing import ListedVideo
from multav.reports.outcome_rows import COLUMNS, rows

ROWS_AT_ONCE: Final = 65_536
"""Rows of one Parquet row group: all that is held in memory."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_csv(
    stream: IO[str],
    outcomes: Iterable[Outcome],
    *,
    classes: Sequence[str],
    videos: Iterable[ListedVideo],
    cells: Iterable[Cell],
) -> int:
    """Write one line per outcome to `stream` (text, opened with newline=""), under a line of names.

    Gives back how many. A text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, CSV
    Injection): read Parquet where names must be exact. Numbers keep every digit.
    """
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    kinds = [kind for kind, _ in COLUMNS.values()]
    count = 0
    for row in rows(outcomes, classes=classes, videos=videos, cells=cells):
        writer.writerow([_in_csv(kind, value) for kind, value in zip(kinds, row, strict=True)])
        count += 1
    return count


def write_parquet(
    path: Path,
    outcomes: Iterable[Outcome],
    *,
    classes: Sequence[str],
    videos: Iterable[ListedVideo],
    cells: Iterable[Cell],
) -> int:
    """Write one row per outcome to `path`, and give back how many.

    Names are dictionary-encoded; what a column means is in its field's metadata, under "meaning". Memory holds
    `ROWS_AT_ONCE` rows.
    """
    # Loading it takes a moment that JSON and CSV need not wait for.
    import pyarrow
    from pyarrow import parquet

    types = {
        "text": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
        "whole": pyarrow.int64(),
        "real": pyarrow.float64(),
        "flag": pyarrow.bool_(),
    }
    schema = pyarrow.schema(
        [
            pyarrow.field(name, types[kind], metadata={"meaning": meaning})
            for name, (kind, meaning) in COLUMNS.items()
        ],
        metadata={"unit": "one row is one (model, attack, video)"},
    )
    count = 0
    stream = rows(outcomes, classes=classes, videos=videos, cells=cells)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while block := list(islice(stream, ROWS_AT_ONCE)):
            columns = [
                pyarrow.array(values, type=field.type)
                for values, field in zip(zip(*block, strict=True), schema, strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
            count += len(block)
    return count


def _in_csv(kind: str, value: Any) -> Any:
    if value is None:
        return ""
    if kind == "flag":
        return "true" if value else "false"
    if kind == "text" and value.startswith(_FORMULA):
        return f"'{value}"
    return value
