"""Frames come out upright, exact, in order and at their times; and nothing is left behind."""

import signal
import struct
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from multav.errors import UndecodableVideo
from multav.video.decode import decode
from multav.video.limits import Limits
from multav.video.probe import probe

ONE = 0x10000


def pictures_of(path, limits=None):
    with decode(path, limits) as frames:
        return [frame.rgb for frame in frames]


def times_of(path):
    with decode(path) as frames:
        return [frame.pts * Fraction(frames.info.time_base) for frame in frames]


def test_frames_equal_what_was_stored(paint, clip):
    with decode(clip) as frames:
        seen = list(frames)
    assert frames.summary is not None
    assert (frames.summary.frames, frames.summary.damaged) == (50, False)
    assert len(seen) == 50
    for index, frame in enumerate(seen):
        assert frame.rgb.dtype == np.uint8
        assert frame.rgb.flags.c_contiguous
        assert np.array_equal(frame.rgb, paint(64, 48, index))


@pytest.mark.parametrize(("width", "height"), [(63, 47), (65, 49), (2, 2), (127, 33)])
def test_odd_sizes(film, paint, width, height):
    path = film.write(f"odd{width}x{height}.mp4", [paint(width, height, index) for index in range(3)])
    found = pictures_of(path)
    assert probe(path).width == width
    assert all(np.array_equal(seen, paint(width, height, index)) for index, seen in enumerate(found))


@pytest.mark.parametrize(
    ("matrix", "turn", "rotation", "mirrored"),
    [
        ((1, 0, 0, 1), lambda stored: stored, 0, False),
        ((0, 1, -1, 0), lambda stored: np.rot90(stored, -1), 90, False),
        ((-1, 0, 0, -1), lambda stored: stored[::-1, ::-1], 180, False),
        ((0, -1, 1, 0), lambda stored: np.rot90(stored), 270, False),
        ((-1, 0, 0, 1), lambda stored: stored[:, ::-1], 0, True),
        ((1, 0, 0, -1), lambda stored: stored[::-1], 180, True),
        ((0, 1, 1, 0), lambda stored: stored.transpose(1, 0, 2), 270, True),
    ],
    ids=["upright", "90", "180", "270", "mirror", "flip", "transpose"],
)
def test_display_matrix_is_applied(film, paint, matrix, turn, rotation, mirrored):
    stored = paint(64, 48)
    path = film.write("turned.mp4", [stored])
    raw = bytearray(path.read_bytes())
    # QuickTime's track header: 40 bytes of version 0 fields between its type and its matrix {a b u c d v x y w}.
    at = raw.index(b"tkhd") + 44
    a, b, c, d = (ONE * each for each in matrix)
    raw[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(raw)
    upright = turn(stored)
    info = probe(path)
    assert (info.rotation, info.mirrored) == (rotation, mirrored)
    assert (info.height, info.width) == upright.shape[:2]
    assert np.array_equal(pictures_of(path)[0], upright)


def test_variable_frame_rate_keeps_its_times(film, paint):
    pts = [0, 1, 5, 6, 40, 41, 45, 1000, 1001, 1500]
    path = film.write(
        "vfr.mp4", [paint(32, 32, index) for index in range(10)], time_base=Fraction(1, 1000), pts=pts
    )
    assert times_of(path) == [Fraction(each, 1000) for each in pts]
    assert probe(path).variable_frame_rate is True


def test_constant_frame_rate_is_seen(clip):
    info = probe(clip)
    assert info.variable_frame_rate is False
    assert info.frame_rate == 25
    assert info.frames == 50
    assert info.duration_seconds == pytest.approx(2.0)
    assert [each.codec for each in info.audio] == ["aac"]
    assert info.bytes == clip.stat().st_size


def test_one_frame(film, paint):
    path = film.write("one.mp4", [paint(64, 48)])
    assert len(pictures_of(path)) == 1
    assert probe(path).frames == 1


def test_a_start_after_zero_is_kept(film, paint):
    path = film.write("late.mp4", [paint(32, 32, index) for index in range(4)], pts=[7, 8, 9, 10])
    assert times_of(path) == [Fraction(each, 25) for each in (7, 8, 9, 10)]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [
        ("png", "rgba", ".mov"),
        ("rawvideo", "bgr24", ".avi"),
        ("ffv1", "bgr0", ".mkv"),
        ("qtrle", "rgb24", ".mov"),
        ("libvpx-vp9", "gbrp", ".webm"),
    ],
)
def test_rgb_sources_are_exact(film, paint, codec, pixel_format, suffix):
    options = {"lossless": "1"} if "vp9" in codec else {}
    path = film.write(
        f"rgb-{codec}{suffix}", [paint(49, 31)], codec=codec, pixel_format=pixel_format, options=options
    )
    info = probe(path)
    assert (info.color_matrix, info.color_range, info.bit_depth) == ("rgb", "full", 8)
    assert np.array_equal(pictures_of(path)[0], paint(49, 31))


def test_palettes_are_exact(film):
    indices = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48)
    colours = np.random.default_rng(0).integers(0, 256, (256, 4), dtype=np.uint8)
    colours[:, 0] = 255  # alpha first
    path = film.folder / "palette.mov"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "pal8"
        frame = av.VideoFrame.from_ndarray((indices, colours), format="pal8")
        output.mux([*stream.encode(frame), *stream.encode(None)])
    assert probe(path).pixel_format == "pal8"
    assert np.array_equal(pictures_of(path)[0], colours[indices][..., 1:])


def test_a_change_of_size_is_refused(film, paint):
    path = film.folder / "changing.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        output.start_encoding()
        for index, (width, height) in enumerate([(64, 48), (64, 48), (32, 48)]):
            codec = av.CodecContext.create("mjpeg", "w")
            codec.width, codec.height, codec.pix_fmt, codec.time_base = (
                width,
                height,
                "yuvj420p",
                Fraction(1, 25),
            )
            frame = av.VideoFrame.from_ndarray(paint(width, height), "rgb24").reformat(format="yuvj420p")
            frame.pts = index
            for packet in [*codec.encode(frame), *codec.encode(None)]:
                packet.stream = stream
                packet.pts = packet.dts = index
                packet.time_base = Fraction(1, 25)
                output.mux(packet)
    with pytest.raises(UndecodableVideo, match="frame 2 is 32x48 where the video began with 64x48"):
        pictures_of(path)


@pytest.mark.usefixtures("nothing_left")
def test_leaving_early_twenty_times_leaves_nothing(clip):
    for _ in range(20):
        with decode(clip) as frames:
            next(iter(frames))


@pytest.mark.usefixtures("nothing_left")
def test_an_exception_of_the_consumer_passes_through(clip):
    def consume():
        with decode(clip) as frames:
            for _ in frames:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        consume()


def decode_and_send(find_child, path, sent, limits=None):
    """Decode `path` whole; after three frames the decoder gets the signal `sent`."""
    with decode(path, limits) as frames:
        for index, _ in enumerate(frames):
            if index == 3:
                find_child().send_signal(sent)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(("sent", "words"), [(signal.SIGKILL, "was killed"), (signal.SIGSEGV, "SIGSEGV")])
def test_a_decoder_that_dies_means_an_undecodable_video(long_clip, sandboxed_child, sent, words):
    with pytest.raises(UndecodableVideo, match=words):
        decode_and_send(sandboxed_child, long_clip, sent)


@pytest.mark.usefixtures("nothing_left")
def test_a_hanging_decoder_is_given_up(long_clip, sandboxed_child):
    started = time.monotonic()
    with pytest.raises(UndecodableVideo, match="gave no sign for 1 s"):
        decode_and_send(sandboxed_child, long_clip, signal.SIGSTOP, Limits(stall_seconds=1))
    assert time.monotonic() - started < 5


def test_a_slow_consumer_uses_up_no_waiting_time(clip):
    with decode(clip, Limits(wall_seconds=1.5, stall_seconds=1.5)) as frames:
        for index, _ in enumerate(frames):
            if index == 1:
                time.sleep(2)
    assert frames.summary is not None
    assert frames.summary.frames == 50


def test_memory_is_flat_and_the_decoder_waits(long_clip, sandboxed_child):
    sizes = {}
    with decode(long_clip) as frames:
        child = sandboxed_child()
        for index, _ in enumerate(frames):
            if index in (300, 850):
                sizes[index] = child.memory_info().rss + psutil.Process().memory_info().rss
    assert sizes[850] - sizes[300] < 8 * 2**20


def test_it_reads_from_another_folder(clip, monkeypatch):
    monkeypatch.chdir(clip.parent)
    assert len(pictures_of(Path("clip.mp4"))) == 50


def test_a_missing_file_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "none.mp4")
