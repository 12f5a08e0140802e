"""HMDB51 by its official lists."""

from pathlib import Path

import pytest

from multav.datasets.hmdb51 import Hmdb51
from multav.errors import BadDataset
from tests.multav.datasets import trees

HAIR = "April_09_brush_hair_u_nm_np1_ba_goo_{}.avi"
WAVE = "20060723sfjffbartsinger_wave_f_cm_np1_ba_med_{}.avi"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Per class a train video, two test videos and an unused one."""
    lists = tmp_path / "testTrainMulti_7030_splits"
    for name, pattern in (("wave", WAVE), ("brush_hair", HAIR)):
        trees.place(tmp_path, *(f"{name}/{pattern.format(number)}" for number in range(4)))
        lines = [f"{pattern.format(number)} {flag} " for number, flag in enumerate((1, 2, 2, 0))]
        trees.place(lists, f"{name}_test_split1.txt", content="\n".join(lines).encode())
        trees.place(lists, f"{name}_test_split2.txt", content=f"{pattern.format(3)} 2\r\n".encode())
    return tmp_path


def test_flags_say_which_part_a_video_is_in(root: Path) -> None:
    listing = Hmdb51().listing(root)
    assert listing.classes == ("brush_hair", "wave")
    assert [video.name for video in listing.videos] == [
        *(f"brush_hair/{HAIR.format(number)}" for number in (1, 2)),
        *(f"wave/{WAVE.format(number)}" for number in (1, 2)),
    ]
    assert [video.label for video in listing.videos] == [0, 0, 1, 1]
    assert [video.name for video in Hmdb51(subset="train").listing(root).videos] == [
        f"brush_hair/{HAIR.format(0)}",
        f"wave/{WAVE.format(0)}",
    ]
    assert len(Hmdb51(split=2).listing(root).videos) == 2
    assert not listing.missing


def test_a_group_is_a_film(root: Path) -> None:
    groups = {video.group for video in Hmdb51().listing(root).videos}
    assert groups == {"April_09", "20060723sfjffbartsinger"}


def test_counts_and_stray_files_are_remarked_on(root: Path) -> None:
    trees.place(root, "wave/stray.avi")
    remarks = Hmdb51().listing(root).remarks
    assert "2 classes where HMDB51 has 51" in remarks
    assert "4 videos listed where the official test part of each split has 1530" in remarks
    assert "files that no list of split 1 names: 1 (wave/stray.avi)" in remarks


def test_videos_may_lie_in_a_folder_of_their_own(root: Path) -> None:
    (root / "hmdb51_org").mkdir()
    for name in ("wave", "brush_hair"):
        (root / name).rename(root / "hmdb51_org" / name)
    listing = Hmdb51().listing(root)
    assert listing.videos[0].name.startswith("hmdb51_org/brush_hair/")
    assert not listing.missing


@pytest.mark.parametrize("line", ["a.avi", "a.avi 3", "a.avi  ", " 2", "../a.avi 2", "/a.avi 2"])
def test_a_wrong_line_is_named(root: Path, line: str) -> None:
    (root / "testTrainMulti_7030_splits" / "wave_test_split1.txt").write_text(f"b.avi 0\n{line}\n")
    with pytest.raises(BadDataset, match=r"wave_test_split1.txt, line 2: "):
        Hmdb51().listing(root)


def test_no_lists_no_dataset(root: Path) -> None:
    with pytest.raises(BadDataset, match=r"no list <class>_test_split3.txt"):
        Hmdb51(split=3).listing(root)
