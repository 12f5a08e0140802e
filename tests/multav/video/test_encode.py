"""Written files hold the pictures, times and sound that they were given, or do not exist."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from multav.errors import EncodingFailed
from multav.video.decode import decode
from multav.video.encode import encode
from multav.video.formats import FORMATS
from multav.video.limits import Limits
from multav.video.probe import probe

LOSSLESS = [name for name, form in FORMATS.items() if form.lossless]


def write(path, name, pictures, *, pts=None, time_base="1/25", frame_rate=25.0, **more):
    height, width = pictures[0].shape[:2]
    with encode(
        path, name, width=width, height=height, time_base=time_base, frame_rate=frame_rate, **more
    ) as writer:
        for index, picture in enumerate(pictures):
            writer.write(picture, index if pts is None else pts[index])
    return writer


def read(path):
    with decode(path) as frames:
        seen = list(frames)
    return [frame.rgb for frame in seen], [frame.pts * Fraction(frames.info.time_base) for frame in seen]


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47), (66, 35)])
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_are_exact(tmp_path, paint, name, width, height):
    pictures = [paint(width, height, index) for index in range(4)]
    pictures.append(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    path = tmp_path / f"out{FORMATS[name].suffix}"
    writer = write(path, name, pictures)
    seen, times = read(path)
    assert all(np.array_equal(*pair) for pair in zip(seen, pictures, strict=True))
    assert times == [Fraction(index, 25) for index in range(5)]
    assert writer.bytes == path.stat().st_size
    assert (writer.frames, writer.codec) == (5, {"v": "vp9", "f": "ffv1", "h": "h264"}[name[0]])
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47), (64, 720), (127, 721)])
def test_h264_keeps_size_and_colours(tmp_path, width, height):
    """Flat coloured halves survive 4:2:0 at a low crf to within rounding: matrix, range and tags agree."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2] = (200, 40, 90)
    picture[height // 2 :] = (30, 160, 220)
    writer = write(tmp_path / "out.mp4", "h264-mp4", [picture] * 3, crf=1)
    seen, _ = read(tmp_path / "out.mp4")
    assert writer.pixel_format == ("yuv420p" if width % 2 == height % 2 == 0 else "yuv444p")
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height) == (width, height)
    assert info.color_matrix == ("bt601" if height < 720 else "bt709")
    quarter = height // 4
    for each in seen:
        for row in (quarter, 3 * quarter):
            assert np.abs(each[row].astype(int) - picture[row]).max() <= 2


def test_h264_colours_are_tagged_for_players(tmp_path, paint):
    write(tmp_path / "out.mp4", "h264-mp4", [paint(64, 720)])
    write(tmp_path / "rgb.mp4", "h264rgb-mp4", [paint(64, 720)])
    tags = []
    for name in ("out.mp4", "rgb.mp4"):
        with av.open(str(tmp_path / name)) as container:
            codec = container.streams.video[0].codec_context
            frame = next(container.decode(video=0))
            tags.append((codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc))
            assert tags[-1] == (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    assert tags == [(1, 1, 1, 1), (0, 2, 1, 13)]


def test_a_lower_crf_makes_a_larger_and_closer_file(tmp_path, paint):
    pictures = [paint(128, 96, index) for index in range(5)]
    sizes, errors = [], []
    for crf in (6, 23, 40):
        sizes.append(write(tmp_path / "out.mp4", "h264-mp4", pictures, crf=crf).bytes)
        seen, _ = read(tmp_path / "out.mp4")
        errors.append(
            np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(seen, pictures, strict=True)])
        )
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)


PTS = [0, 1, 7, 8, 100, 101, 140, 3000, 3003, 9000]


@pytest.mark.parametrize("time_base", ["1/90000", "1001/30000", "1/12800", "1/600"])
@pytest.mark.parametrize("name", list(FORMATS))
def test_variable_times_are_kept(tmp_path, paint, name, time_base):
    path = tmp_path / f"out{FORMATS[name].suffix}"
    write(
        path, name, [paint(32, 32, index) for index in range(10)], pts=PTS, time_base=time_base, frame_rate=24
    )
    seen, times = read(path)
    wanted = [each * Fraction(time_base) for each in PTS]
    if path.suffix == ".mp4":
        assert times == wanted
    else:  # Matroska counts milliseconds; pictures that share one come out a millisecond apart
        assert all(abs(time - want) <= Fraction(6, 1000) for time, want in zip(times, wanted, strict=True))
    if name in LOSSLESS:
        assert all(np.array_equal(each, paint(32, 32, index)) for index, each in enumerate(seen))


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_start_after_zero_is_kept(tmp_path, paint, name):
    path = tmp_path / f"out{FORMATS[name].suffix}"
    write(path, name, [paint(32, 32, index) for index in range(3)], pts=[50, 51, 52])
    assert read(path)[1] == [Fraction(each, 25) for each in (50, 51, 52)]


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("time_base", ["1/12800", "1/25"])
def test_the_last_picture_is_shown_as_long_as_the_others(tmp_path, paint, name, time_base):
    step = round(Fraction(1, 25) / Fraction(time_base))
    path = tmp_path / f"out{FORMATS[name].suffix}"
    write(
        path,
        name,
        [paint(32, 32, index) for index in range(10)],
        time_base=time_base,
        pts=range(0, 10 * step, step),
    )
    assert probe(path).duration_seconds == pytest.approx(0.4)


def test_the_index_comes_first(tmp_path, paint):
    for name in ("h264-mp4", "vp9-mp4", "h264rgb-mp4"):
        write(tmp_path / "out.mp4", name, [paint(32, 32)])
        raw = (tmp_path / "out.mp4").read_bytes()
        assert raw.index(b"moov") < raw.index(b"mdat")


def test_pixel_shape_is_carried(tmp_path, paint):
    write(tmp_path / "out.mp4", "h264-mp4", [paint(64, 48)], sample_aspect_ratio="4/3")
    assert probe(tmp_path / "out.mp4").sample_aspect_ratio == "4/3"


@pytest.mark.usefixtures("nothing_left")
def test_an_exception_leaves_no_file(tmp_path, paint):
    def interrupted():
        with encode(
            tmp_path / "out.mp4", "h264-mp4", width=64, height=48, time_base="1/25", frame_rate=25
        ) as writer:
            writer.write(paint(64, 48), 0)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        interrupted()
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("nothing_left")
def test_an_older_file_stays_until_the_new_one_is_complete(tmp_path, paint):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    with encode(path, "h264-mp4", width=64, height=48, time_base="1/25", frame_rate=25) as writer:
        writer.write(paint(64, 48), 0)
        assert path.read_bytes() == b"older"
    assert probe(path).frames == 1


@pytest.mark.usefixtures("nothing_left")
def test_a_killed_encoder_is_a_failed_encoding(tmp_path, paint, sandboxed_child):
    def killed():
        with encode(
            tmp_path / "out.mp4", "h264-mp4", width=64, height=48, time_base="1/25", frame_rate=25
        ) as writer:
            for index in range(1000):
                writer.write(paint(64, 48), index)
                if index == 3:
                    sandboxed_child().kill()

    with pytest.raises(EncodingFailed, match="was killed"):
        killed()
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("nothing_left")
def test_no_picture_is_no_file(tmp_path):
    with pytest.raises(EncodingFailed, match="no picture"):  # noqa: SIM117
        with encode(tmp_path / "out.mp4", "h264-mp4", width=64, height=48, time_base="1/25", frame_rate=25):
            pass
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path, paint):
    with pytest.raises(EncodingFailed, match="No such file"):
        write(tmp_path / "none" / "out.mp4", "h264-mp4", [paint(64, 48)] * 50)


def test_a_file_beyond_its_limit_fails(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    with pytest.raises(EncodingFailed, match="large"):
        write(tmp_path / "out.mkv", "ffv1-mkv", [noise] * 20, max_bytes=1_000_000)
    assert os.listdir(tmp_path) == []


def test_memory_of_the_encoder_is_bounded(tmp_path, paint):
    with pytest.raises(EncodingFailed):
        write(
            tmp_path / "out.mp4", "h264-mp4", [paint(1920, 1088)] * 3, limits=Limits(memory_bytes=150 * 2**20)
        )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "picture",
    [np.zeros((48, 63, 3), np.uint8), np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), np.uint8)],
)
def test_wrong_pictures_are_refused(tmp_path, picture):
    with pytest.raises(ValueError, match="a picture of"):  # noqa: SIM117
        with encode(
            tmp_path / "out.mp4", "h264-mp4", width=64, height=48, time_base="1/25", frame_rate=25
        ) as writer:
            writer.write(picture, 0)


def test_times_must_increase(tmp_path, paint):
    with pytest.raises(ValueError, match="does not come after"):
        write(tmp_path / "out.mp4", "h264-mp4", [paint(64, 48)] * 3, pts=[0, 2, 2])


def test_pictures_that_are_views_are_written_as_seen(tmp_path, paint):
    whole = paint(96, 80)
    view = whole[::-1, 10:74][::2]
    write(tmp_path / "out.mkv", "ffv1-mkv", [view])
    assert np.array_equal(read(tmp_path / "out.mkv")[0][0], view)
