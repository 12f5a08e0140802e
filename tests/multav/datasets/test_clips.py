"""What a model is shown of a video."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from multav.datasets import clips
from multav.datasets.clips import load_clip
from multav.datasets.listing import ListedVideo
from multav.datasets.recipes import RECIPES, Recipe, windows_of
from multav.datasets.synthetic import Synthetic
from multav.errors import BadVideo, NotAVideo, VideoTooLarge
from multav.footage import shrink
from multav.geometry import InputGeometry
from multav.preprocessing import preprocessing
from multav.video.limits import Limits
from tests.multav.datasets import trees

PAPER = InputGeometry(frames=4, stride=1, short_side=112, height=112, width=112)


def listed(path: Path) -> ListedVideo:
    return ListedVideo(0, path.name, 0, path.name, path)


def as_the_authors(picture: NDArray[np.uint8], geometry: InputGeometry) -> NDArray[np.uint8]:
    """Their loader in Pillow: short side by bilinear, long side truncated, centre crop with Python's round."""
    image = Image.fromarray(picture)
    short = geometry.short_side
    width, height = image.size
    size = (int(short * width / height), short) if height <= width else (short, int(short * height / width))
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - geometry.width) / 2.0), round((size[1] - geometry.height) / 2.0)
    return np.asarray(image.crop((left, top, left + geometry.width, top + geometry.height)))


@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 240), (240, 426), (113, 157), (100, 80)])
def test_the_resize_is_that_of_the_authors_but_for_one_level(height: int, width: int) -> None:
    for picture in (
        trees.noise(1, height, width)[0],
        np.add.outer(range(height), range(width * 3)).astype(np.uint8),
    ):
        picture = picture.reshape(height, width, 3)
        ours = shrink(picture, preprocessing(PAPER, height, width)).astype(int)
        difference = np.abs(ours - as_the_authors(picture, PAPER))
        assert difference.max() <= 1
        assert difference.mean() < 0.3


def test_the_crop_begins_where_the_authors_crop_begins() -> None:
    # 320x240 becomes 149x112; the crop begins at round(18.5) = 18, not at 19.
    picture = trees.grey(0, 240, 320)
    picture[:, : round(320 * 18.5 / 149)] = 255
    ours = shrink(picture, preprocessing(PAPER, 240, 320))
    assert ours[50, 0, 0] > 100
    assert ours[50, 2, 0] == 0


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("frames", [3, 9, 14])
def test_a_lossless_video_gives_the_frames_of_the_recipe_to_the_bit(
    tmp_path: Path, recipe: Recipe, frames: int
) -> None:
    pictures = trees.noise(frames)
    loaded = load_clip(listed(trees.write_video(tmp_path / "a.mkv", pictures)), trees.SMALL, recipe)
    resize = preprocessing(trees.SMALL, 24, 32)
    small = np.stack([shrink(picture, resize) for picture in pictures])
    expected = np.stack([small[list(window)] for window in windows_of(recipe, frames, trees.SMALL)])
    assert loaded.frames == frames
    assert not loaded.damaged
    assert loaded.levels.dtype == torch.uint8
    np.testing.assert_array_equal(loaded.levels.numpy(), expected.transpose(0, 4, 1, 2, 3))
    assert loaded.pixels.dtype == torch.float32
    assert torch.equal(loaded.pixels, loaded.levels.float() / 255)


def test_mpeg4_in_avi_is_read_in_rgb_and_in_order(tmp_path: Path) -> None:
    pictures = [trees.grey(20 * index) for index in range(10)]
    for picture in pictures:
        picture[..., 0] = 200
    loaded = load_clip(listed(trees.write_video(tmp_path / "a.avi", pictures)), trees.SMALL, "paper")
    # n=10, T=4: every second frame
    means = loaded.levels.float().mean(dim=(3, 4))[0]
    torch.testing.assert_close(means[0], torch.full((4,), 200.0), atol=8, rtol=0)
    torch.testing.assert_close(means[1], torch.tensor([0.0, 40.0, 80.0, 120.0]), atol=8, rtol=0)


@pytest.mark.parametrize("claim", [1, 5, 500, 2**30])
def test_a_container_that_lies_about_its_length_changes_nothing(tmp_path: Path, claim: int) -> None:
    path = trees.write_video(tmp_path / "a.avi", trees.noise(14))
    honest = load_clip(listed(path), trees.SMALL, "model")
    content = bytearray(path.read_bytes())
    # dwTotalFrames of the main header, dwLength of the stream's
    for mark, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        place = content.index(mark) + offset
        assert int.from_bytes(content[place : place + 4], "little") == 14
        content[place : place + 4] = claim.to_bytes(4, "little")
    (tmp_path / "lie.avi").write_bytes(content)
    lied = load_clip(listed(tmp_path / "lie.avi"), trees.SMALL, "model")
    assert lied.frames == 14
    assert lied.damaged == (claim > 14), "as a file that was cut off"
    assert torch.equal(lied.levels, honest.levels)


def test_no_windows_are_laid_out_for_more_frames_than_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trees.write_video(tmp_path / "a.avi", trees.noise(14))
    content = bytearray(path.read_bytes())
    place = content.index(b"strh") + 8 + 32
    content[place : place + 4] = (2**30).to_bytes(4, "little")
    path.write_bytes(content)
    asked: list[int] = []

    def recorded(recipe: Recipe, frames: int, geometry: InputGeometry) -> tuple[tuple[int, ...], ...]:
        asked.append(frames)
        return windows_of(recipe, min(frames, 10**6), geometry)

    monkeypatch.setattr(clips, "windows_of", recorded)
    assert load_clip(listed(path), trees.SMALL, "hara", Limits(max_frames=100)).frames == 14
    assert max(asked) == 100


def test_made_clips_of_the_models_size_are_as_they_are_made() -> None:
    geometry = InputGeometry(frames=8, stride=2, short_side=16, height=16, width=16)
    video = Synthetic(clips=3, size=16).listing().videos[2]
    loaded = load_clip(video, geometry, "model")
    expected = video.pictures().transpose(3, 0, 1, 2)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(loaded.levels[0].numpy(), expected)
    resized = load_clip(
        video, trees.SMALL.model_copy(update={"short_side": 8, "height": 8, "width": 8}), "hara"
    )
    assert resized.levels.shape == (2, 3, 4, 8, 8)


def test_what_is_wrong_with_a_file_is_a_bad_video(tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match=r"gone.avi cannot be opened: No such file"):
        load_clip(listed(tmp_path / "gone.avi"), trees.SMALL, "model")
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(NotAVideo):
        load_clip(listed(tmp_path / "text.avi"), trees.SMALL, "model")
    path = trees.write_video(tmp_path / "long.avi", trees.noise(12))
    with pytest.raises(VideoTooLarge):
        load_clip(listed(path), trees.SMALL, "model", Limits(max_frames=10))
    with pytest.raises(BadVideo, match="no file"):
        load_clip(ListedVideo(0, "x", 0, "x"), trees.SMALL, "model")


def test_more_windows_than_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trees.write_video(tmp_path / "a.mkv", trees.noise(12))
    monkeypatch.setattr(clips, "MOST_BYTES", 2 * 3 * 4 * 16 * 16)
    with pytest.raises(VideoTooLarge, match="12 frames of this video"):
        load_clip(listed(path), trees.SMALL, "hara")
    assert len(load_clip(listed(path), trees.SMALL, "paper").levels) == 1


def test_reading_may_be_left_at_any_frame(tmp_path: Path) -> None:
    seen: list[int] = []

    def check() -> None:
        seen.append(threading.get_ident())
        if len(seen) == 5:
            raise KeyError("left")

    path = trees.write_video(tmp_path / "a.mkv", trees.noise(12))
    with pytest.raises(KeyError):
        load_clip(listed(path), trees.SMALL, "paper", check=check)
    assert len(seen) == 5
