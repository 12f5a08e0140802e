"""Outcomes as CSV and Parquet, read back by other code."""

import csv
import io
from pathlib import Path

import pytest
from pyarrow import parquet

from multav.reports import outcome_tables
from multav.reports.outcome_rows import COLUMNS
from multav.reports.outcome_tables import write_csv, write_parquet
from tests.multav.reports.conftest import Reported


def test_csv_holds_every_row(reported: Reported) -> None:
    audit, text = reported.audit, io.StringIO(newline="")
    count = write_csv(
        text, audit.outcomes, classes=audit.classes, videos=audit.videos, cells=audit.request.cells
    )
    read = list(csv.DictReader(io.StringIO(text.getvalue(), newline="")))
    assert count == len(read) == len(audit.outcomes)
    videos = {video.index: video for video in audit.videos}
    for line, each in zip(read, audit.outcomes, strict=True):
        assert (line["model"], line["cell"], int(line["clip"])) == (each.model, each.cell, each.clip)
        assert line["group"] == videos[each.clip].group
        assert (line["predicted"] or None) == (None if each.predicted is None else str(each.predicted))
        assert (float(line["size"]) if line["size"] else None) == each.size
        assert line["problem"] == (each.problem or "")


def test_no_spreadsheet_runs_a_name(reported: Reported) -> None:
    audit, text = reported.audit, io.StringIO(newline="")
    write_csv(text, audit.outcomes, classes=audit.classes, videos=audit.videos, cells=audit.request.cells)
    fields = [field for line in csv.reader(io.StringIO(text.getvalue(), newline="")) for field in line]
    assert "'=cmd|' /C calc'!A0" in fields
    assert "'=bad/v_0000.avi" in fields
    assert not [field for field in fields if field.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_parquet_holds_every_row_exactly(
    reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_tables, "ROWS_AT_ONCE", 1000)
    audit, path = reported.audit, tmp_path / "outcomes.parquet"
    count = write_parquet(
        path, iter(audit.outcomes), classes=audit.classes, videos=audit.videos, cells=audit.request.cells
    )
    file = parquet.ParquetFile(path)
    assert file.metadata.num_row_groups == -(-count // 1000)
    table = file.read()
    assert table.num_rows == count == len(audit.outcomes)
    assert table.column_names == list(COLUMNS)
    assert b"ratio" in table.schema.field("size").metadata[b"meaning"]
    cells = {cell.name: cell.attack.epsilon for cell in audit.request.cells}
    for line, each in zip(table.to_pylist(), audit.outcomes, strict=True):
        assert line["label_name"] == audit.classes[each.label]
        assert line["predicted_name"] == (None if each.predicted is None else audit.classes[each.predicted])
        assert line["right"] == (None if each.predicted is None else each.predicted == each.label)
        assert line["bound"] == cells.get(each.cell)
        assert (line["minimum_epsilon"], line["attacked"]) == (each.epsilon, each.attacked)


def test_no_outcomes_make_an_empty_table(reported: Reported, tmp_path: Path) -> None:
    audit, path = reported.audit, tmp_path / "none.parquet"
    assert write_parquet(path, [], classes=audit.classes, videos=audit.videos, cells=()) == 0
    assert parquet.read_table(path).column_names == list(COLUMNS)
