"""UCF101 by its official lists, with their traps."""

from pathlib import Path

import pytest

from multav.datasets.ucf101 import OFFICIAL, Ucf101
from multav.errors import BadDataset
from tests.multav.datasets import trees


def test_classes_come_in_the_order_of_the_official_list_and_not_of_the_alphabet(tmp_path: Path) -> None:
    listing = Ucf101().listing(trees.ucf101(tmp_path))
    assert listing.classes == trees.UCF_CLASSES
    assert listing.classes != tuple(sorted(listing.classes))
    for video in listing.videos:
        assert video.name.split("/")[1] == listing.classes[video.label]


def test_paths_are_taken_from_the_lists(tmp_path: Path) -> None:
    listing = Ucf101().listing(trees.ucf101(tmp_path))
    assert not listing.missing
    first = listing.videos[0]
    assert first.name == "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi"
    assert first.path is not None
    assert first.path.is_file()
    assert [video.index for video in listing.videos] == list(range(8))


def test_groups_are_those_of_a_class(tmp_path: Path) -> None:
    names = [trees.ucf_name(name, 1, clip) for name in trees.UCF_CLASSES for clip in (1, 2)]
    listing = Ucf101().listing(trees.ucf101(tmp_path, test=names))
    assert {video.group for video in listing.videos} == {f"{name}/g01" for name in trees.UCF_CLASSES}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("subset", ["train", "test"])
def test_both_lists_are_read_whatever_ends_their_lines(tmp_path: Path, end: str, subset: str) -> None:
    listing = Ucf101(subset=subset).listing(trees.ucf101(tmp_path, end=end))
    assert len(listing.videos) == {"train": 4, "test": 8}[subset]
    assert {video.label for video in listing.videos} == set(range(4))
    assert not listing.missing


def test_the_root_may_be_the_folder_of_the_classes(tmp_path: Path) -> None:
    trees.ucf101(tmp_path)
    (tmp_path / "ucfTrainTestlist").rename(tmp_path / "UCF-101" / "ucfTrainTestlist")
    listing = Ucf101().listing(tmp_path / "UCF-101")
    assert listing.videos[0].name == "HandstandPushups/v_HandStandPushups_g01_c01.avi"
    assert not listing.missing


def test_a_small_dataset_is_remarked_on_and_one_of_the_official_size_is_not(tmp_path: Path) -> None:
    small = Ucf101().listing(trees.ucf101(tmp_path / "small"))
    assert any(
        "8 videos listed where the official test list of split 1 has 3783" in each for each in small.remarks
    )
    assert any("4 classes where UCF101 has 101" in each for each in small.remarks)
    there = trees.ucf_name("JumpRope", 1, 1)
    full = trees.ucf101(tmp_path / "full", test=[there])
    names = [there, *(trees.ucf_name("JumpRope", 2, clip) for clip in range(OFFICIAL[1, "test"] - 1))]
    (full / "ucfTrainTestlist" / "testlist01.txt").write_text("\n".join(names))
    listing = Ucf101().listing(full)
    assert len(listing.videos) == 3783
    assert len(listing.missing) == 3782
    assert not any("videos listed" in each for each in listing.remarks)


def test_files_that_are_not_there_stay_listed_and_are_named(tmp_path: Path) -> None:
    root = trees.ucf101(tmp_path)
    gone = trees.ucf_name("Hammering", 2, 1)
    (root / "UCF-101" / gone).unlink()
    listing = Ucf101().listing(root)
    assert listing.missing == (f"UCF-101/{gone}",)
    assert len(listing.videos) == 8


def test_files_that_no_list_names_and_videos_in_both_lists_are_remarked_on(tmp_path: Path) -> None:
    both = trees.ucf_name("Hammering", 1, 1)
    root = trees.ucf101(tmp_path, test=[both], train=[both])
    trees.place(root / "UCF-101", trees.ucf_name("Hammering", 3, 7))
    remarks = " | ".join(Ucf101().listing(root).remarks)
    assert "in the train list and in the test list: 1 (UCF-101/Hammering/v_Hammering_g01_c01.avi)" in remarks
    assert "that neither list of split 1 names: 1 (UCF-101/Hammering/v_Hammering_g03_c07.avi)" in remarks


def test_a_video_that_is_listed_twice_counts_once(tmp_path: Path) -> None:
    name = trees.ucf_name("Hammering", 1, 1)
    listing = Ucf101().listing(trees.ucf101(tmp_path, test=[name, trees.ucf_name("JumpRope", 1, 1), name]))
    assert len(listing.videos) == 2
    assert any("more than once" in each for each in listing.remarks)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("../outside.avi", "leads out"),
        ("Hammering/../../outside.avi", "leads out"),
        ("/etc/passwd", "leads out"),
        ("Hammering\\v_1.avi", "backslash"),
        ("Hammering/v\x00.avi", "control characters"),
        ("Knitting/v_Knitting_g01_c01.avi", "a class of classInd.txt"),
        ("Hammering", "a class of classInd.txt"),
        ("Hammering/v_Hammering_g01_c01.avi 4", "expected 3, the number of Hammering"),
        ("Hammering/v_\xff.avi".encode("latin-1"), "UTF-8"),
    ],
)
def test_a_wrong_line_is_named_with_file_and_number(tmp_path: Path, line: str | bytes, says: str) -> None:
    root = trees.ucf101(tmp_path)
    path = root / "ucfTrainTestlist" / "testlist01.txt"
    path.write_bytes(path.read_bytes() + b"\n" + (line if isinstance(line, bytes) else line.encode()))
    with pytest.raises(BadDataset, match=r"ucfTrainTestlist/testlist01.txt, line 9: ") as caught:
        Ucf101().listing(root)
    assert says in caught.value.detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 Hammering\n1 JumpRope", "line 2: expected each number and each class once"),
        ("1 Hammering\n2 Hammering", "line 2: expected each number and each class once"),
        ("0 Hammering\n1 JumpRope", "numbered from 1 to 2"),
        ("1 Hammering\n3 JumpRope", "numbered from 1 to 2"),
        ("Hammering\nJumpRope", "line 1: expected a number from 1 and a class"),
        ("", "names no class"),
    ],
)
def test_a_wrong_list_of_classes_is_refused(tmp_path: Path, text: str, says: str) -> None:
    root = trees.ucf101(tmp_path)
    (root / "ucfTrainTestlist" / "classInd.txt").write_text(text)
    with pytest.raises(BadDataset) as caught:
        Ucf101().listing(root)
    assert says in caught.value.detail


def test_the_numbers_of_the_classes_count_and_not_their_lines(tmp_path: Path) -> None:
    root = trees.ucf101(tmp_path)
    path = root / "ucfTrainTestlist" / "classInd.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    assert Ucf101().listing(root).classes == trees.UCF_CLASSES


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="no folder"):
        Ucf101().listing(tmp_path / "nowhere")
    with pytest.raises(BadDataset, match=r"no classInd.txt in ucfTrainTestlist"):
        Ucf101().listing(tmp_path)
    root = trees.ucf101(tmp_path / "data")
    with pytest.raises(BadDataset, match=r"no file ucfTrainTestlist/testlist02.txt"):
        Ucf101(split=2).listing(root)
    (root / "ucfTrainTestlist" / "testlist01.txt").write_text("")
    with pytest.raises(BadDataset, match="empty"):
        Ucf101().listing(root)


def test_lists_without_videos_are_refused(tmp_path: Path) -> None:
    root = trees.ucf101(tmp_path)
    (root / "UCF-101").rename(root / "elsewhere")
    with pytest.raises(
        BadDataset, match=r"none of the 8 listed videos is there: the first is expected at Handstand"
    ):
        Ucf101().listing(root)
    assert len(Ucf101(videos="elsewhere").listing(root).videos) == 8
