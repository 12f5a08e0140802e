"""Looking at every video: nothing is left out."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from multav.datasets.cut_short import cut_short
from multav.datasets.listing import Listing
from multav.datasets.scan import Scan, dataset_sha256, scan
from multav.datasets.synthetic import Synthetic
from multav.datasets.ucf101 import Ucf101
from multav.errors import Cancelled
from tests.multav.datasets import trees


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Listing:
    """Eight videos in MPEG-4: two alike in one class, two alike in two, one of text, one cut, one gone."""
    root = trees.ucf101(tmp_path_factory.mktemp("ucf"))
    folder = root / "UCF-101"
    for number, name in enumerate(name for name in trees.UCF_CLASSES for _ in (1, 2)):
        trees.write_video(
            folder / trees.ucf_name(name, number % 2 + 1, 1), trees.noise(5 + number, seed=number)
        )
    paths = {
        (name, group): folder / trees.ucf_name(name, group, 1)
        for name in trees.UCF_CLASSES
        for group in (1, 2)
    }
    paths["Hammering", 2].write_bytes(paths["Hammering", 1].read_bytes())
    paths["JumpRope", 1].write_bytes(paths["HandstandPushups", 1].read_bytes())
    paths["HandstandPushups", 2].write_text("no video")
    content = trees.write_video(paths["HammerThrow", 1], trees.noise(30)).read_bytes()
    paths["HammerThrow", 1].write_bytes(content[: len(content) * 3 // 4])
    paths["JumpRope", 2].unlink()
    return Ucf101().listing(root)


@pytest.fixture(scope="module")
def scanned(listing: Listing) -> Scan:
    return scan(listing, workers=2)


def test_every_listed_video_is_a_line_in_order(listing: Listing, scanned: Scan) -> None:
    assert [video.name for video in scanned.videos] == [video.name for video in listing.videos]
    statuses = [video.status for video in scanned.videos]
    assert statuses == ["ok", "corrupt", "damaged", "ok", "ok", "ok", "ok", "missing"]
    assert scanned.counts == {"ok": 5, "damaged": 1, "corrupt": 1, "missing": 1}
    assert sum(scanned.counts.values()) == len(listing.videos)
    assert [video.name for video in scanned.corrupt] == [listing.videos[1].name]
    assert "container" in scanned.corrupt[0].detail
    assert [video.frames for video in scanned.videos if video.status == "ok"] == [5, 8, 9, 9, 5]


def test_fewer_frames_than_the_container_says_are_mentioned(tmp_path: Path) -> None:
    root = trees.ucf101(tmp_path, test=[trees.ucf_name("JumpRope", 1, 1)])
    path = trees.write_video(root / "UCF-101" / trees.ucf_name("JumpRope", 1, 1), trees.noise(10))
    content = bytearray(path.read_bytes())
    place = content.index(b"movi") + 4000
    content[place : place + 3000] = b"\xff" * 3000
    path.write_bytes(content)
    (video,) = scan(Ucf101().listing(root)).videos
    assert video.frames is not None
    assert 0 < video.frames < 10
    assert f"the container says 10 frames, {video.frames} decode" in video.detail
    assert video.status == "damaged"


def test_a_frame_less_is_ordinary_and_a_fifth_less_was_cut_off() -> None:
    assert not any(cut_short(*each) for each in ((None, 3), (10, 10), (10, 12), (10, 9), (300, 270)))
    assert all(cut_short(*each) for each in ((10, 8), (300, 269), (2, 0)))


def test_bytes_and_digests_are_those_of_the_files(listing: Listing, scanned: Scan) -> None:
    for video, found in zip(listing.videos, scanned.videos, strict=True):
        assert video.path is not None
        content = video.path.read_bytes() if video.path.exists() else None
        assert found.bytes == (None if content is None else len(content))
        assert found.sha256 == (None if content is None else hashlib.sha256(content).hexdigest())


def test_duplicates_are_found_and_those_that_straddle_classes_flagged(scanned: Scan) -> None:
    by_straddling = {each.straddles: each for each in scanned.duplicates}
    assert len(scanned.duplicates) == 2
    assert by_straddling[True].classes == ("HandstandPushups", "JumpRope")
    assert by_straddling[False].classes == ("Hammering",)
    assert len(by_straddling[False].names) == 2


def test_the_manifest_and_the_scan_are_json(scanned: Scan) -> None:
    lines = [json.loads(line) for line in scanned.manifest.splitlines()]
    assert list(lines[0]) == ["name", "label", "group", "bytes", "sha256", "frames", "status"]
    assert [line["label"] for line in lines] == [name for name in trees.UCF_CLASSES for _ in (1, 2)]
    assert Scan.model_validate_json(scanned.model_dump_json()) == scanned
    assert any("official test list" in remark for remark in scanned.remarks)


def test_the_result_does_not_depend_on_the_number_of_processes(listing: Listing, scanned: Scan) -> None:
    seen: list[tuple[int, int]] = []
    assert scan(listing, workers=1, progress=lambda done, total: seen.append((done, total))) == scanned
    assert seen == [(done, 8) for done in range(1, 9)]


def test_the_datasets_name_changes_with_all_that_it_lists(listing: Listing, scanned: Scan) -> None:
    name = dataset_sha256(listing)
    assert scanned.dataset_sha256 == name
    first, *rest = listing.videos
    others = [
        replace(listing, classes=tuple(reversed(listing.classes))),
        replace(listing, videos=tuple(rest)),
        *(
            replace(listing, videos=(replace(first, **change), *rest))
            for change in ({"name": "x"}, {"label": 1}, {"group": "x"})
        ),
    ]
    assert len({name, *map(dataset_sha256, others)}) == 6
    assert dataset_sha256(replace(listing, remarks=(), missing=())) == name


def test_the_content_changes_with_a_byte_and_the_name_does_not(tmp_path: Path) -> None:
    root = trees.ucf101(tmp_path)
    listing = Ucf101().listing(root)
    before = scan(listing)
    assert {video.status for video in before.videos} == {"corrupt"}
    (root / "UCF-101" / trees.ucf_name("JumpRope", 1, 1)).write_bytes(b"x")
    after = scan(Ucf101().listing(root))
    assert after.dataset_sha256 == before.dataset_sha256
    assert after.content_sha256 != before.content_sha256


def test_made_clips_are_scanned_too() -> None:
    listing = Synthetic(clips=3, size=16).listing()
    found = scan(listing)
    assert found.counts["ok"] == 3
    assert not found.duplicates
    assert [video.frames for video in found.videos] == [8, 8, 8]
    assert dataset_sha256(Synthetic(clips=3, size=16, seed=5).listing()) != found.dataset_sha256


def test_a_scan_may_be_cancelled(listing: Listing) -> None:
    def check() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        scan(listing, check=check)
