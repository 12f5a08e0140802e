"""Datasets named in a table."""

import json
from pathlib import Path

import pytest

from multav.datasets.manifest import Manifest
from multav.errors import BadDataset
from tests.multav.datasets import trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.place(tmp_path, "a.mp4", "b, c.mp4", "d/e.mp4")
    return tmp_path


def test_a_table_from_a_spreadsheet_is_read(root: Path) -> None:
    text = (
        "\ufeffPath,Label,group,subset,notes\r\n"
        'a.mp4,walk,g1,test,"two\r\nlines"\r\n'
        '"b, c.mp4","run ""fast""",,test,\r\n'
        "\r\n"
        "d/e.mp4,walk,,train,\r\n"
    )
    (root / "manifest.csv").write_bytes(text.encode())
    listing = Manifest().listing(root)
    assert listing.classes == ('run "fast"', "walk")
    assert [(video.name, video.label, video.group) for video in listing.videos] == [
        ("a.mp4", 1, "g1"),
        ("b, c.mp4", 0, "b, c.mp4"),
        ("d/e.mp4", 1, "d/e.mp4"),
    ]
    part = Manifest(subset="train").listing(root)
    assert [video.name for video in part.videos] == ["d/e.mp4"]
    assert part.classes == listing.classes
    with pytest.raises(BadDataset, match=r"no row of the subset 'val'; its subsets are: 'test', 'train'"):
        Manifest(subset="val").listing(root)


def test_json_lines_are_read(root: Path) -> None:
    rows = [{"path": "a.mp4", "label": "walk", "group": 7}, {"path": "d/e.mp4", "label": 0, "more": [1]}]
    (root / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    listing = Manifest(file="list.jsonl", classes=("swim", "walk")).listing(root)
    assert [(video.label, video.group) for video in listing.videos] == [(1, "7"), (0, "d/e.mp4")]


def test_indices_need_names(root: Path) -> None:
    (root / "manifest.csv").write_text("path,label\na.mp4,1\nd/e.mp4,0\n")
    with pytest.raises(BadDataset, match="say with classes"):
        Manifest().listing(root)
    listing = Manifest(classes=("run", "walk")).listing(root)
    assert [video.label for video in listing.videos] == [1, 0]


def _table(root: Path, row: str, head: str = "path,label") -> str:
    (root / "manifest.csv").write_text(f"{head}\n{row}\n")
    return "."


def test_paths_may_be_relative_to_a_folder(root: Path) -> None:
    _table(root, "e.mp4,walk")
    listing = Manifest(folder="d", classes=("run", "walk")).listing(root)
    assert listing.videos[0].name == "d/e.mp4"
    assert "classes without a video: 1 (run)" in listing.remarks


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("../a.mp4,walk", "leads out"),
        ("/a.mp4,walk", "leads out"),
        ("d\\e.mp4,walk", "backslash"),
        (",walk", "a path (text) and a label"),
        ("a.mp4,", "a path (text) and a label"),
        ("a.mp4", "2 fields"),
        ("a.mp4,walk,more", "2 fields"),
        ("a.mp4,fly", "one of the 2 classes"),
        ("a.mp4,2", "one of the 2 classes"),
        ("a.mp4,-1", "one of the 2 classes"),
        ("a.mp4,²", "one of the 2 classes"),
        ('a.mp4,"walk', "not CSV"),
        (f"a.mp4,{'w' * 300}", "at most 200 characters"),
    ],
)
def test_a_wrong_row_is_named(root: Path, row: str, says: str) -> None:
    _table(root, row)
    with pytest.raises(BadDataset, match=r"manifest.csv, line 2: ") as caught:
        Manifest(classes=("run", "walk")).listing(root)
    assert says in caught.value.detail


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{",
        '{"path": 1, "label": 0}',
        '{"path": "a.mp4", "label": true}',
        '{"path": "a.mp4"}',
        "[" * 100_000,
    ],
)
def test_a_wrong_line_of_json_is_named(root: Path, line: str) -> None:
    (root / "list.jsonl").write_text(f'{{"path": "a.mp4", "label": "walk"}}\n{line}\n')
    with pytest.raises(BadDataset, match=r"list.jsonl, line 2: "):
        Manifest(file="list.jsonl", classes=("run", "walk")).listing(root)


def test_one_video_with_two_labels_is_refused(root: Path) -> None:
    _table(root, "a.mp4,walk\na.mp4,run")
    with pytest.raises(BadDataset, match="a video has one label"):
        Manifest().listing(root)


def test_a_table_without_a_head_or_rows_is_refused(root: Path) -> None:
    _table(root, "a.mp4,walk", head="file,class")
    with pytest.raises(BadDataset, match="line 1: expected a head with path,label"):
        Manifest().listing(root)
    _table(root, "")
    with pytest.raises(BadDataset, match="names no video"):
        Manifest().listing(root)
    _table(root, "a.mp4,walk")
    with pytest.raises(BadDataset, match="the one label 'walk'"):
        Manifest().listing(root)
