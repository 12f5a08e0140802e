"""Kinetics by its official csv lists."""

from pathlib import Path

import pytest

from multav.datasets.kinetics import Kinetics
from multav.errors import BadDataset
from tests.multav.datasets import trees

HEAD = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Train names "zumba" first; of the three clips of val one is missing."""
    (tmp_path / "train.csv").write_text(
        HEAD
        + 'zumba,aaaaaaaaaaa,1,11,train\nair drumming,bbbbbbbbbbb,2,12,train\n"massaging person\'s head",c,0,10,train\n'
    )
    (tmp_path / "val.csv").write_text(
        HEAD
        + "air drumming,-x_y_z12345,20,30,val\nzumba,ddddddddddd,0,10,val\nair drumming,-x_y_z12345,40,50,val\n"
    )
    trees.place(
        tmp_path, "val/air drumming/-x_y_z12345_000020_000030.mp4", "val/zumba/ddddddddddd_000000_000010.mkv"
    )
    return tmp_path


def test_classes_come_as_they_first_appear_in_the_train_list(root: Path) -> None:
    listing = Kinetics().listing(root)
    assert listing.classes == ("zumba", "air drumming", "massaging person's head")
    assert [video.label for video in listing.videos] == [1, 0, 1]
    assert Kinetics(class_order="sorted").listing(root).classes == tuple(sorted(listing.classes))


def test_without_a_train_list_classes_are_sorted_and_that_is_said(root: Path) -> None:
    (root / "train.csv").unlink()
    listing = Kinetics().listing(root)
    assert listing.classes == ("air drumming", "zumba")
    assert any("they are sorted" in each for each in listing.remarks)


def test_missing_clips_are_normal_and_counted(root: Path) -> None:
    listing = Kinetics().listing(root)
    assert len(listing.videos) == 3
    assert listing.missing == ("val/air drumming/-x_y_z12345_000040_000050.mp4",)


def test_clips_of_one_video_are_one_group(root: Path) -> None:
    groups = [video.group for video in Kinetics().listing(root).videos]
    assert groups == ["-x_y_z12345", "ddddddddddd", "-x_y_z12345"]


@pytest.mark.parametrize(
    "name",
    [
        "val/air_drumming/-x_y_z12345_000040_000050.mp4",
        "validate/air drumming/-x_y_z12345_000040_000050.mp4",
        "air drumming/-x_y_z12345_000040_000050.webm",
        "air drumming/-x_y_z12345_000040_000050/video.mp4",
        "val/-x_y_z12345_000040_000050.mp4",
    ],
)
def test_clips_are_found_in_every_usual_layout(root: Path, name: str) -> None:
    trees.place(root, name)
    listing = Kinetics().listing(root)
    assert not listing.missing
    assert listing.videos[2].name == name


def test_lists_and_videos_may_lie_elsewhere(root: Path) -> None:
    (root / "annotations").mkdir()
    (root / "val.csv").rename(root / "annotations" / "kinetics_400_validate.csv")
    (root / "videos").mkdir()
    (root / "val").rename(root / "videos" / "val")
    assert len(Kinetics(videos="videos").listing(root).missing) == 1


def test_stray_files_are_remarked_on(root: Path) -> None:
    trees.place(root, "val/zumba/eeeeeeeeeee_000000_000010.mp4")
    assert any(
        "the val list does not name: 1 (val/zumba/eee" in each for each in Kinetics().listing(root).remarks
    )


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("zumba,d,x,10,val", "whole seconds"),
        ("zumba,d,0.5,10,val", "whole seconds"),
        ("zumba,d,-1,10,val", "whole seconds"),
        ("zumba,d,inf,10,val", "whole seconds"),
        (",d,0,10,val", "whole seconds"),
        ("zumba,d,0,10", "5 fields"),
        ("zumba,../d,0,10,val", "leads out"),
        ("..,d,0,10,val", "leads out"),
        ("zumba,d/e,0,10,val", "without /"),
        ("knitting,d,0,10,val", "a label that the train list has too"),
        ('"zumba,d,0,10,val', "not CSV"),
        (f"{'z' * 200_000},d,0,10,val", "not CSV"),
    ],
)
def test_a_wrong_row_is_named(root: Path, row: str, says: str) -> None:
    with (root / "val.csv").open("a") as file:
        file.write(row)
    with pytest.raises(BadDataset, match=r"val.csv, line 5: ") as caught:
        Kinetics().listing(root)
    assert says in caught.value.detail


def test_a_list_with_other_columns_is_refused(root: Path) -> None:
    (root / "val.csv").write_text("youtube_id,time_start,time_end,split\na,0,10,test\n")
    with pytest.raises(BadDataset, match=r"val.csv, line 1: .*lacking: label"):
        Kinetics().listing(root)
    with pytest.raises(BadDataset, match=r"no list test.csv"):
        Kinetics(subset="test").listing(root)
