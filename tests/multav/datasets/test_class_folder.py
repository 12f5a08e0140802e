"""Any tree with a folder per class."""

from pathlib import Path

import pytest

from multav.datasets.class_folder import ClassFolder
from multav.errors import BadDataset
from tests.multav.datasets import trees


def test_folders_are_classes_and_every_suffix_of_a_video_counts(tmp_path: Path) -> None:
    trees.place(
        tmp_path, "walk/b.MP4", "walk/a.mkv", "run/c.webm", "run/notes.txt", "run/.hidden.mp4", ".git/x.mp4"
    )
    listing = ClassFolder().listing(tmp_path)
    assert listing.classes == ("run", "walk")
    assert [(video.name, video.label) for video in listing.videos] == [
        ("run/c.webm", 0),
        ("walk/a.mkv", 1),
        ("walk/b.MP4", 1),
    ]


def test_the_order_of_the_classes_may_be_given(tmp_path: Path) -> None:
    trees.place(tmp_path, "walk/a.mp4", "run/b.mp4", "swim/c.mp4", "stray.mp4")
    listing = ClassFolder(classes=("walk", "run")).listing(tmp_path)
    assert [(video.name, video.label) for video in listing.videos] == [("walk/a.mp4", 0), ("run/b.mp4", 1)]
    assert listing.remarks == (
        "folders that are no class: 1 (swim)",
        "videos outside of any class folder: 1 (stray.mp4)",
    )
    with pytest.raises(BadDataset, match=r"no folder for these classes: 1 \(fly\)"):
        ClassFolder(classes=("walk", "fly")).listing(tmp_path)


def test_videos_in_one_folder_below_their_class_are_one_group(tmp_path: Path) -> None:
    trees.place(tmp_path, "walk/film/a.mp4", "walk/film/b.mp4", "walk/c.mp4", "run/d.mp4")
    groups = {video.name: video.group for video in ClassFolder().listing(tmp_path).videos}
    assert groups["walk/film/a.mp4"] == groups["walk/film/b.mp4"]
    assert len(set(groups.values())) == 3


def test_a_tree_with_the_classes_deeper_is_refused_until_it_is_said_where(tmp_path: Path) -> None:
    trees.place(tmp_path, "data/val/walk/a.mp4", "data/val/run/b.mp4")
    with pytest.raises(BadDataset, match="at least two"):
        ClassFolder().listing(tmp_path)
    assert ClassFolder(folder="data/val").listing(tmp_path).classes == ("run", "walk")
    with pytest.raises(BadDataset, match="no folder data/test"):
        ClassFolder(folder="data/test").listing(tmp_path)


def test_an_empty_class_is_remarked_on_and_an_empty_dataset_refused(tmp_path: Path) -> None:
    trees.place(tmp_path, "walk/a.mp4", "run/notes.txt")
    assert ClassFolder().listing(tmp_path).remarks == ("classes without a video: 1 (run)",)
    (tmp_path / "walk" / "a.mp4").unlink()
    with pytest.raises(BadDataset, match="empty"):
        ClassFolder().listing(tmp_path)
