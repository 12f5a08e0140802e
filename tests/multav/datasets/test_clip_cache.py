"""Clips on disk: never wrong, never too many, whoever else uses the folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from multav.datasets import clip_cache
from multav.datasets.clip_cache import ClipCache
from multav.datasets.clips import LoadedClip, load_clip
from multav.datasets.listing import ListedVideo
from multav.datasets.synthetic import Synthetic
from multav.geometry import InputGeometry
from tests.multav.datasets import trees


def clip(seed: int, side: int = 16) -> LoadedClip:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (1, 3, 4, side, side), generator=generator, dtype=torch.uint8)
    return LoadedClip(levels, seed, damaged=bool(seed % 2))


def same(one: LoadedClip | None, other: LoadedClip) -> bool:
    return (
        one is not None
        and torch.equal(one.levels, other.levels)
        and (one.frames, one.damaged)
        == (
            other.frames,
            other.damaged,
        )
    )


def key(number: int) -> str:
    return f"{number:064x}"


ENTRY = 3200
"""A clip of 3 * 4 * 16 * 16 bytes with its head."""


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 10**6)
    assert cache.get(key(1)) is None
    cache.put(key(1), clip(1))
    cache.put(key(2), clip(2))
    assert same(cache.get(key(1)), clip(1))
    assert same(cache.get(key(2)), clip(2))
    found = cache.get(key(1))
    assert found is not None
    found.levels.zero_()
    assert same(cache.get(key(1)), clip(1))


def test_the_least_recently_used_go_and_the_bytes_stay_within_bounds(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 5 * ENTRY)
    for number in range(5):
        cache.put(key(number), clip(number))
        os.utime(next(tmp_path.glob(f"*/{key(number)}.clip")), (number, number))
    assert cache.get(key(0)) is not None
    for number in range(5, 7):
        cache.put(key(number), clip(number))
        assert cache.bytes <= 5 * ENTRY
    assert cache.get(key(0)) is not None, "it was used after the others"
    assert cache.get(key(1)) is None
    assert cache.get(key(6)) is not None


def test_a_clip_that_is_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, ENTRY)
    cache.put(key(1), clip(1))
    cache.put(key(2), clip(2, side=64))
    assert cache.get(key(1)) is not None
    assert cache.get(key(2)) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "longer", "head"])
def test_a_damaged_entry_is_removed(tmp_path: Path, damage: str) -> None:
    cache = ClipCache(tmp_path, 10**6)
    cache.put(key(1), clip(1))
    (path,) = tmp_path.glob("*/*.clip")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-100] ^= 1
    elif damage == "head":
        content[40] ^= 1
    path.write_bytes(
        bytes({"cut": content[:-1], "empty": b"", "longer": content + b"x"}.get(damage, content))
    )
    assert cache.get(key(1)) is None
    assert not path.exists()
    cache.put(key(1), clip(1))
    assert same(cache.get(key(1)), clip(1))


def test_the_books_are_counted_anew_when_they_say_nothing(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 3 * ENTRY)
    for number in range(3):
        cache.put(key(number), clip(number))
    (tmp_path / "bytes").write_text("")
    for number in range(3, 8):
        cache.put(key(number), clip(number))
        assert cache.bytes <= 3 * ENTRY


def test_what_an_ended_process_left_half_written_goes(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 2 * ENTRY)
    cache.put(key(1), clip(1))
    old, new = tmp_path / "00" / "old.part", tmp_path / "00" / "new.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - 7200))
    for number in range(2, 5):
        cache.put(key(number), clip(number))
    assert not old.exists()
    assert new.exists()


def test_videos_are_decoded_once_and_again_when_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def load(video: ListedVideo, *rest: object, **named: object) -> LoadedClip:
        decoded.append(video.name)
        return original(video, *rest, **named)  # type: ignore[arg-type]

    original = load_clip
    monkeypatch.setattr(clip_cache, "load_clip", load)
    path = trees.write_video(tmp_path / "a.mkv", trees.noise(9))
    video, cache = ListedVideo(0, "a", 0, "a", path), ClipCache(tmp_path / "cache", 10**7)
    first = cache.load(video, trees.SMALL, "paper")
    assert same(cache.load(video, trees.SMALL, "paper"), first)
    normalised = trees.SMALL.model_copy(update={"mean": (0.5, 0.5, 0.5)})
    assert same(cache.load(video, normalised, "paper"), first)
    assert len(decoded) == 1
    cache.load(video, trees.SMALL, "hara")
    cache.load(video, trees.SMALL.model_copy(update={"height": 8}), "paper")
    assert len(decoded) == 3
    trees.write_video(path, trees.noise(9, seed=1))
    assert not same(cache.load(video, trees.SMALL, "paper"), first)
    assert len(decoded) == 4
    cache.load(video, trees.SMALL, "paper")
    assert len(decoded) == 4
    os.utime(path, (1, 1))
    cache.load(video, trees.SMALL, "paper")
    assert len(decoded) == 5


def test_made_clips_are_kept_by_their_formula(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 10**6)
    shape = InputGeometry(frames=8, stride=1, short_side=16, height=16, width=16)
    first, second = Synthetic(clips=2, size=16).listing().videos
    other = Synthetic(clips=1, size=16, seed=1).listing().videos[0]
    for video in (first, second, other):
        made = cache.load(video, shape, "model")
        taken = cache.bytes
        assert same(cache.load(video, shape, "model"), made)
        assert cache.bytes == taken
    assert cache.bytes > 3 * made.levels.nbytes
    assert not same(cache.load(first, shape, "model"), made)


def test_a_folder_that_cannot_be_written_does_not_stop_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    video = ListedVideo(0, "a", 0, "a", trees.write_video(tmp_path / "a.mkv", trees.noise(5)))
    assert ClipCache(tmp_path / "file", 10**6).load(video, trees.SMALL, "paper").frames == 5


HAMMER = """
import sys
from pathlib import Path
from multav.datasets.clip_cache import ClipCache
from tests.multav.datasets.test_clip_cache import ENTRY, clip, key, same
cache = ClipCache(Path(sys.argv[1]), 8 * ENTRY)
for turn in range(80):
    number = (turn * 7 + int(sys.argv[2]) * 3) % 20
    found = cache.get(key(number))
    assert found is None or same(found, clip(number)), "another clip, or half of one"
    if found is None:
        cache.put(key(number), clip(number))
    assert cache.bytes <= 8 * ENTRY, "more than allowed"
"""


def test_many_processes_may_share_a_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    processes = [
        subprocess.Popen([sys.executable, "-c", HAMMER, str(tmp_path), str(number)], env=environment)
        for number in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    cache = ClipCache(tmp_path, 8 * ENTRY)
    assert 0 < cache.bytes <= 8 * ENTRY
    assert int((tmp_path / "bytes").read_text()) == cache.bytes
    assert not list(tmp_path.glob("*/*.part"))
