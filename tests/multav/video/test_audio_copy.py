"""The sound of the source comes through packet for packet, in time with the pictures, or the writer says why not."""

from fractions import Fraction

import av
import numpy as np
import pytest

from multav.video.decode import decode
from multav.video.encode import encode
from multav.video.formats import FORMATS
from multav.video.probe import probe


def packets(path):
    """For each audio stream: (seconds, payload) of every packet, without what only a decoder drops."""
    with av.open(str(path)) as container:
        found = {stream.index: [] for stream in container.streams.audio}
        for packet in container.demux(*container.streams.audio):
            if packet.size:
                found[packet.stream.index].append((packet.pts * packet.time_base, bytes(packet)))
    return list(found.values())


def first_and_last_picture(path):
    with decode(path) as frames:
        times = [frame.pts * Fraction(frames.info.time_base) for frame in frames]
    return times[0], times[-1]


def rewrite(source, target, name):
    with decode(source) as frames:
        info = frames.info
        with encode(
            target,
            name,
            width=info.width,
            height=info.height,
            time_base=info.time_base,
            frame_rate=info.frame_rate,
            audio_from=source,
        ) as writer:
            for frame in frames:
                writer.write(frame.rgb, frame.pts)
    return writer


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_packet_is_the_same(tmp_path, clip, name):
    target = tmp_path / f"out{FORMATS[name].suffix}"
    writer = rewrite(clip, target, name)
    assert (writer.audio_copied, writer.audio_streams, writer.audio_reason) == (True, 1, None)
    (before,), (after,) = packets(clip), packets(target)
    assert [payload for _, payload in after] == [payload for _, payload in before]
    drift = [late - early for (early, _), (late, _) in zip(before, after, strict=True)]
    pictures = first_and_last_picture(target)[0] - first_and_last_picture(clip)[0]
    # What the sound moved by, the pictures moved by too; an MP4 moves neither.
    assert max(abs(each - pictures) for each in drift) <= Fraction(2, 1000)
    if target.suffix == ".mp4":
        assert set(drift) == {0}


def test_the_shipped_sample(tmp_path, request):
    sample = request.config.rootpath / "samples" / "bigbuckbunny.mp4"
    target = tmp_path / "out.mp4"
    with encode(
        target, "h264-mp4", width=32, height=32, time_base="1/25", frame_rate=25, audio_from=sample
    ) as writer:
        for index in range(132):
            writer.write(np.zeros((32, 32, 3), np.uint8), index)
    assert writer.audio_copied
    assert packets(target) == packets(sample)


def test_two_tracks_and_a_late_start(tmp_path, film, paint):
    source = film.write(
        "two-tracks.mp4",
        [paint(64, 48, index) for index in range(25)],
        pts=range(10, 35),
        sound=["aac", "ac3"],
    )
    writer = rewrite(source, tmp_path / "out.mp4", "h264-mp4")
    assert (writer.audio_copied, writer.audio_streams) == (True, 2)
    assert packets(tmp_path / "out.mp4") == packets(source)
    assert first_and_last_picture(tmp_path / "out.mp4") == (Fraction(10, 25), Fraction(34, 25))


def test_sound_and_pictures_lie_side_by_side(tmp_path, film, paint):
    # Longer than the ten seconds for which a muxer waits for a stream by itself.
    source = film.write("interleaved.mp4", [paint(32, 32, index) for index in range(500)], sound=["aac"])
    rewrite(source, tmp_path / "out.mp4", "h264rgb-mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        places = {"audio": [], "video": []}
        for packet in container.demux():
            if packet.size:
                places[packet.stream.type].append((packet.pos, float(packet.dts * packet.time_base)))
    assert places["video"]
    for pos, seconds in places["video"][5:-5]:
        nearest = min(places["audio"], key=lambda other: abs(other[0] - pos))
        assert abs(nearest[1] - seconds) < 0.75


@pytest.mark.parametrize(
    ("codec", "suffix", "copied"),
    [
        ("libopus", ".mkv", True),
        ("ac3", ".mkv", True),
        ("wmav2", ".wmv", False),
        ("libmp3lame", ".avi", True),
        ("pcm_s16le", ".avi", False),
    ],
)
def test_other_codecs(tmp_path, film, paint, codec, suffix, copied):
    source = film.write(
        f"sound-{codec}{suffix}",
        [paint(64, 48, index) for index in range(25)],
        codec="ffv1",
        pixel_format="bgr0",
        options={},
        sound=[codec],
    )
    writer = rewrite(source, tmp_path / "out.mp4", "h264-mp4")
    assert len(list_frames(tmp_path / "out.mp4")) == 25
    assert writer.audio_copied is copied
    if copied:
        (before,), (after,) = packets(source), packets(tmp_path / "out.mp4")
        assert b"".join(payload for _, payload in after) == b"".join(payload for _, payload in before)
    else:
        assert codec in writer.audio_reason
        assert probe(tmp_path / "out.mp4").audio == ()
    if codec != "wmav2":  # which PyAV does not put into Matroska
        kept = rewrite(source, tmp_path / "out.mkv", "ffv1-mkv")
        assert kept.audio_copied, kept.audio_reason


def list_frames(path):
    with decode(path) as frames:
        return list(frames)


def test_a_source_without_sound(tmp_path, film, paint):
    source = film.write("silent.mp4", [paint(64, 48)])
    writer = rewrite(source, tmp_path / "out.mp4", "h264-mp4")
    assert (writer.audio_copied, writer.audio_reason) == (False, "the source has no sound")


def test_a_source_that_is_no_media(tmp_path, paint):
    source = tmp_path / "text.mp4"
    source.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    with encode(
        tmp_path / "out.mp4",
        "h264-mp4",
        width=64,
        height=48,
        time_base="1/25",
        frame_rate=25,
        audio_from=source,
    ) as writer:
        writer.write(paint(64, 48), 0)
    assert not writer.audio_copied
    assert "cannot be read" in writer.audio_reason
    assert len(list_frames(tmp_path / "out.mp4")) == 1


def test_sound_that_is_cut_off(tmp_path, film, paint):
    whole = film.write("sound-whole.mp4", [paint(64, 48, index) for index in range(50)], sound=["aac"])
    source = tmp_path / "cut.mp4"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    writer = rewrite(source, tmp_path / "out.mp4", "h264-mp4")
    (before,), (after,) = packets(whole), packets(tmp_path / "out.mp4")
    assert writer.audio_streams == 1
    assert 0 < len(after) < len(before)
    assert before[: len(after) - 1] == after[:-1]
