"""Nothing beyond the root is ever listed."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multav.datasets.class_folder import ClassFolder
from multav.datasets.tree import Tree, joined, relative_name
from multav.errors import BadDataset
from tests.multav.datasets import trees


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.place(tmp_path, "secret.mp4", "outside/walk/b.mp4")
    trees.place(tmp_path / "root", "run/a.mp4", "walk/a.mp4")
    return tmp_path / "root"


def test_links_that_lead_out_are_refused_wherever_they_are(root: Path) -> None:
    link = root / "walk" / "link.mp4"
    link.symlink_to(root.parent / "secret.mp4")
    with pytest.raises(BadDataset, match=r"walk/link.mp4 is a link that leads out"):
        ClassFolder().listing(root)
    link.unlink()
    link.symlink_to("../../secret.mp4")
    with pytest.raises(BadDataset, match="leads out"):
        ClassFolder().listing(root)
    link.unlink()
    (root / "swim").symlink_to(root.parent / "outside")
    with pytest.raises(BadDataset, match="swim is a link that leads out"):
        ClassFolder().listing(root)


def test_a_chain_of_links_is_followed_to_its_end(root: Path) -> None:
    (root / "walk" / "b.mp4").symlink_to("c.mp4")
    (root / "walk" / "c.mp4").symlink_to(root.parent / "secret.mp4")
    with pytest.raises(BadDataset, match="leads out"):
        Tree(root).file("walk/b.mp4")
    with pytest.raises(BadDataset, match="leads out"):
        Tree(root).file("walk/c.mp4")


def test_a_folder_beside_the_root_whose_name_begins_alike_is_outside(root: Path) -> None:
    trees.place(root.parent / "root-2", "b.mp4")
    (root / "walk" / "b.mp4").symlink_to(root.parent / "root-2" / "b.mp4")
    with pytest.raises(BadDataset, match="leads out"):
        ClassFolder().listing(root)


def test_links_within_the_root_are_followed(root: Path) -> None:
    (root / "walk" / "b.mp4").symlink_to("../run/a.mp4")
    (root / "jump").symlink_to("run")
    listing = ClassFolder().listing(root)
    assert listing.classes == ("jump", "run", "walk")
    assert [video.name for video in listing.videos] == ["jump/a.mp4", "run/a.mp4", "walk/a.mp4", "walk/b.mp4"]
    linked = listing.videos[3].path
    assert linked == (root / "run" / "a.mp4").resolve()


def test_a_link_to_nothing_or_to_itself_is_no_file(root: Path) -> None:
    (root / "walk" / "gone.mp4").symlink_to("nothing.mp4")
    (root / "walk" / "self.mp4").symlink_to("self.mp4")
    assert Tree(root).file("walk/gone.mp4") is None
    assert Tree(root).file("walk/self.mp4") is None


def test_a_link_to_the_folder_above_it_ends(root: Path) -> None:
    (root / "walk" / "again").symlink_to("..")
    with pytest.raises(BadDataset, match="nested too deeply"):
        ClassFolder().listing(root)


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert len(ClassFolder().listing(link).videos) == 2


def test_only_regular_files_are_videos(root: Path) -> None:
    import os

    os.mkfifo(root / "walk" / "pipe.mp4")
    (root / "walk" / "folder.mp4").mkdir()
    assert Tree(root).file("walk/pipe.mp4") is None
    assert Tree(root).file("walk/folder.mp4") is None
    assert len(ClassFolder().listing(root).videos) == 2


@pytest.mark.parametrize("name", [b"b\xff.mp4", b"b\n.mp4"])
def test_a_name_that_is_no_text_is_refused(root: Path, name: bytes) -> None:
    (Path(str(root)) / "walk" / name.decode("utf-8", "surrogateescape")).write_bytes(b"")
    with pytest.raises(BadDataset, match="rename the file"):
        ClassFolder().listing(root)


@example("a/../b")
@example("a/..")
@example("..")
@given(st.text(alphabet="ab./\\ \x00é", max_size=12))
def test_a_relative_name_stays_within(name: str) -> None:
    try:
        kept = relative_name(name)
    except ValueError:
        return
    parts = kept.split("/")
    assert not kept.startswith("/")
    assert ".." not in parts
    assert kept == "." or not {"", "."} & set(parts)


def test_parts_that_stand_for_where_one_is_leave_no_trace() -> None:
    assert joined(".", "a", "", "b") == "a/b"
    assert joined(".", "") == "."
