"""Files that are no video, files that would make FFmpeg open something else, files that lie about their size."""

import http.server
import os
import struct
import subprocess
import sys
import threading
import time
import zlib

import av
import pytest

from multav.errors import NoFrames, NotAVideo, UndecodableVideo, VideoTooLarge
from multav.video.container import Refused, demuxer_of, open_only_as
from multav.video.decode import decode
from multav.video.limits import Limits
from multav.video.probe import probe


@pytest.fixture
def loopback():
    """A web server on the loopback interface, and the paths that it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def refused(path, kind):
    """Both the probe and the decoder refuse `path`, quickly; the detail."""
    started = time.monotonic()
    with pytest.raises(kind) as first:
        probe(path)
    with pytest.raises(kind), decode(path) as frames:
        list(frames)
    assert time.monotonic() - started < 5
    assert type(first.value) is kind
    return first.value.detail


def test_text_named_mp4(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("this is a letter, not a video\n" * 100)
    assert "MP4" in refused(path, NotAVideo)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "empty" in refused(path, NotAVideo)


def test_a_folder_and_a_pipe_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", NotAVideo)
    refused(tmp_path, NotAVideo)


@pytest.mark.parametrize("suffix", [".m3u8", ".mp4", ".mkv"])
def test_playlists_open_nothing(tmp_path, clip, loopback, suffix):
    address, asked = loopback
    for target in (f"{address}/segment.ts", f"{address}/movie.mp4", str(clip), f"file:{clip}"):
        path = tmp_path / f"playlist{suffix}"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n")
        refused(path, NotAVideo)
    assert asked == []


@pytest.mark.parametrize("suffix", [".ffconcat", ".mp4"])
def test_concat_scripts_open_nothing(tmp_path, clip, loopback, suffix):
    address, asked = loopback
    for target in (f"{address}/movie.mp4", str(clip), f"file:{clip}"):
        path = tmp_path / f"script{suffix}"
        path.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
        refused(path, NotAVideo)
    assert asked == []


def test_a_playlist_behind_a_movies_first_bytes_opens_nothing(tmp_path, loopback):
    address, asked = loopback
    path = tmp_path / "disguised.mp4"
    path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + f"#EXTM3U\n#EXTINF:2,\n{address}/a.ts\n".encode())
    refused(path, UndecodableVideo)
    assert asked == []


@pytest.mark.parametrize(
    ("suffix", "script"),
    [
        (".m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"),
        (".ffconcat", "ffconcat version 1.0\nfile '{}'\n"),
    ],
)
def test_the_whitelist_alone_refuses_playlists(tmp_path, clip, loopback, suffix, script):
    """Were the first bytes ever fooled, FFmpeg still takes no other demuxer and no other file."""
    address, asked = loopback
    (tmp_path / "near.mp4").symlink_to(clip)
    for target in (f"{address}/segment.ts", str(clip), "near.mp4"):
        path = tmp_path / f"script{suffix}"
        path.write_text(script.format(target))
        with path.open("rb", buffering=0) as raw, pytest.raises(Refused):
            open_only_as("mov,mp4,m4a,3gp,3g2,mj2", raw, max_pixels=10**6)
    assert asked == []


def test_only_sound(film):
    path = film.folder / "sound.mp4"
    with av.open(str(path), "w") as output:
        track = output.add_stream("aac", rate=48_000)
        film._sound(output, track, seconds=1)
    assert "only sound" in refused(path, NoFrames)


def test_no_frame_in_the_video_stream(film, clip):
    path = film.folder / "frameless.mp4"
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        output.add_stream_from_template(source.streams.video[0])
        output.start_encoding()
    refused(path, NoFrames)


def test_a_movie_without_its_index(film, paint):
    whole = film.write("index-last.mp4", [paint(64, 48, index) for index in range(20)], faststart=False)
    path = film.folder / "no-index.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert "cut off" in refused(path, UndecodableVideo)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_cut_off_gives_the_frames_that_it_has(film, paint, suffix):
    whole = film.write(
        f"whole{suffix}", [paint(64, 48, index) for index in range(40)], options={"qp": "0", "g": "1"}
    )
    path = film.folder / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with decode(path) as frames:
        count = len(list(frames))
    assert 20 < count < 40
    assert frames.summary.damaged
    with decode(whole) as frames:
        assert len(list(frames)) == 40
    assert not frames.summary.damaged


def test_noise_in_the_middle_is_passed_over(film, paint):
    whole = film.write(
        "noisy-whole.mp4", [paint(64, 48, index) for index in range(40)], options={"qp": "0", "g": "1"}
    )
    raw = bytearray(whole.read_bytes())
    middle = raw.index(b"mdat") + (len(raw) - raw.index(b"mdat")) // 2
    raw[middle : middle + 3000] = bytes(3000)
    path = film.folder / "noisy.mp4"
    path.write_bytes(raw)
    with decode(path) as frames:
        count = len(list(frames))
    assert 30 <= count <= 40
    assert frames.summary.damaged


def test_nothing_but_noise_in_the_frames(film, paint):
    whole = film.write("noise-whole.mp4", [paint(64, 48, index) for index in range(10)])
    raw = bytearray(whole.read_bytes())
    start = raw.index(b"mdat") + 4
    raw[start:] = bytes((index * 7919) % 251 for index in range(len(raw) - start))
    path = film.folder / "noise.mp4"
    path.write_bytes(raw)
    assert "no frame" in refused(path, UndecodableVideo)


def enlarged_png(film, paint, side, *, also_the_movie):
    """A QuickTime movie of one PNG whose own header (and the movie's) says that it is `side` pixels square."""
    path = film.write("png.mov", [paint(16, 16)], codec="png", pixel_format="rgb24", options={})
    raw = bytearray(path.read_bytes())
    at = raw.index(b"IHDR")
    raw[at + 4 : at + 12] = struct.pack(">2I", side, side)
    raw[at + 17 : at + 21] = struct.pack(">I", zlib.crc32(raw[at : at + 17]))
    if also_the_movie:
        at = raw.index(b"png ", raw.index(b"stsd"))
        raw[at + 28 : at + 32] = struct.pack(">2H", side, side)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("also_the_movie", [True, False])
@pytest.mark.parametrize("side", [16_000, 16_384, 65_535])
def test_headers_of_16k_pictures(film, paint, side, also_the_movie):
    path = enlarged_png(film, paint, side, also_the_movie=also_the_movie)
    kind = VideoTooLarge if side == 16_000 else UndecodableVideo  # FFmpeg itself gives up on the others
    assert "pixels allowed" in refused(path, kind)


def test_no_memory_is_taken_for_a_16k_picture(film, paint):
    path = enlarged_png(film, paint, 16_000, also_the_movie=True)
    code = (
        "import resource, sys\n"
        "from multav.errors import VideoTooLarge\n"
        "from multav.video.probe import probe\n"
        "try: probe(sys.argv[1])\n"
        "except VideoTooLarge: print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    printed = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True).stdout
    assert int(printed) < 200 * 1024, "KiB; the picture alone would take 768 MB"


def test_pixels_are_counted(film, paint):
    path = film.write("wide.mp4", [paint(320, 48)])
    with pytest.raises(VideoTooLarge, match="320x48"):
        probe(path, Limits(max_pixels=320 * 48 - 1))
    assert probe(path, Limits(max_pixels=320 * 48)).width == 320


def gif_bomb(path, frames):
    """A tiny GIF of 1x1 pictures: 23 bytes each."""
    one = b"!\xf9\x04\x00\x01\x00\x00\x00" + b",\0\0\0\0\x01\0\x01\0\0" + b"\x02\x02D\x01\0"
    path.write_bytes(b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0" + one * frames + b";")


def test_a_bomb_of_a_million_frames(tmp_path):
    path = tmp_path / "bomb.gif"
    gif_bomb(path, 1_000_000)
    started = time.monotonic()
    assert probe(path).width == 1
    with (
        pytest.raises(VideoTooLarge, match="more than the 2000 frames"),
        decode(path, Limits(max_frames=2000)) as frames,
    ):
        assert sum(1 for _ in frames) == 0, "not reached"
    assert time.monotonic() - started < 5


def test_frames_up_to_the_limit_are_no_bomb(tmp_path):
    path = tmp_path / "small.gif"
    gif_bomb(path, 200)
    with decode(path, Limits(max_frames=200)) as frames:
        assert sum(1 for _ in frames) == 200


def test_seconds_are_counted(clip):
    with pytest.raises(VideoTooLarge, match=r"1\.5 s"), decode(clip, Limits(max_seconds=1.5)) as frames:
        list(frames)


def test_bytes_are_counted(clip):
    with pytest.raises(VideoTooLarge, match="bytes"):
        probe(clip, Limits(max_bytes=100))


def test_memory_is_bounded(film, paint):
    path = film.write(
        "big.mp4",
        [paint(1280, 1024, index) for index in range(4)],
        options={"qp": "0", "preset": "ultrafast"},
    )
    with (
        pytest.raises((VideoTooLarge, UndecodableVideo)),
        decode(path, Limits(memory_bytes=150 * 2**20)) as frames,
    ):
        list(frames)


def test_processor_time_is_bounded(film, paint):
    path = film.write(
        "hard.mp4",
        [paint(1280, 720, index) for index in range(3)] * 60,
        options={"qp": "0", "preset": "ultrafast"},
    )
    with (
        pytest.raises(UndecodableVideo, match="processor time"),
        decode(path, Limits(cpu_seconds=1)) as frames,
    ):
        list(frames)


@pytest.mark.parametrize(
    ("start", "demuxer"),
    [
        (b"\0\0\0\x18ftypmp42", "mov,mp4,m4a,3gp,3g2,mj2"),
        (b"\x1aE\xdf\xa3\x01", "matroska,webm"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"#EXTM3U", None),
        (b"ffconcat version 1.0", None),
        (b"", None),
        (b"GIF89a", "gif"),
    ],
)
def test_first_bytes_name_the_demuxer(start, demuxer):
    assert demuxer_of(start) == demuxer
