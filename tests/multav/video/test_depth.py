"""Deep files: every code is kept from picture to file and back; whatever is deep is read with the bits asked for."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from multav.video.decode import decode
from multav.video.encode import encode
from multav.video.formats import FORMATS
from multav.video.probe import probe

FFV1 = FORMATS["ffv1-mkv"]
DEPTHS = FFV1.depths[1:]


def codes(bits, size, frames=4, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 1 << bits, (frames, *size, 3)).astype(np.uint16)


def write(path, form, pictures, *, pts=None, **more):
    height, width = pictures.shape[1:3]
    with encode(path, form, width=width, height=height, time_base="1/1000", frame_rate=25, **more) as writer:
        for index, picture in enumerate(pictures):
            writer.write(picture, 40 * index if pts is None else pts[index])
    return writer


def read(path, bits):
    with decode(path, bits=bits) as frames:
        pictures = [frame.rgb for frame in frames]
    return np.stack(pictures), frames.bits


def packed(path, pictures):
    """rgb48be, whose samples are not planes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "rgb48be"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb48be")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_the_depths():
    assert DEPTHS == (10, 12, 14, 16)
    assert all(form.depths == (8,) for form in FORMATS.values() if form is not FFV1)
    with pytest.raises(ValueError, match="vp9-mp4 holds"):
        FORMATS["vp9-mp4"].at(10)
    assert FFV1.at(8) is FFV1
    assert FFV1.at(16).depths == (16,)


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (35, 66), (2, 3)], ids=str)
@pytest.mark.parametrize("bits", DEPTHS)
def test_every_code_is_kept(tmp_path, bits, size):
    pictures = codes(bits, size)
    pictures[0] = (1 << bits) - 1
    pictures[1, :, :, 0] = 0
    path = tmp_path / "deep.mkv"
    writer = write(path, FFV1.at(bits), pictures)
    assert (writer.codec, writer.pixel_format) == ("ffv1", f"gbrp{bits}le")
    seen, found = read(path, 16)
    assert found == bits
    assert seen.dtype == np.uint16
    assert np.array_equal(seen, pictures)
    # And by other calls than the library's own.
    with av.open(str(path)) as container:
        for frame, picture in zip(container.decode(video=0), pictures, strict=True):
            planes = [np.frombuffer(plane, np.uint16).reshape(size[0], -1) for plane in frame.planes]
            for plane, channel in zip(planes, (1, 2, 0), strict=True):
                assert np.array_equal(plane[:, : size[1]], picture[..., channel])
            assert (frame.colorspace, frame.color_range) == (0, 2)
    assert probe(path).bit_depth == bits


@pytest.mark.parametrize("bits", DEPTHS)
def test_a_deep_file_read_at_8_bits_is_close(tmp_path, bits):
    pictures = codes(bits, (48, 64))
    path = tmp_path / "deep.mkv"
    write(path, FFV1.at(bits), pictures)
    seen, found = read(path, 8)
    assert (found, seen.dtype) == (8, np.uint8)
    assert np.abs(seen - pictures * (255 / ((1 << bits) - 1))).max() < 2


def test_fewer_bits_than_the_file_has_are_the_nearest_codes(tmp_path):
    pictures = codes(16, (48, 64))
    path = tmp_path / "deep.mkv"
    write(path, FFV1.at(16), pictures)
    for bits in (10, 12, 14):
        seen, found = read(path, bits)
        assert found == bits
        peak = (1 << bits) - 1
        assert np.abs(seen - pictures * (peak / 65535)).max() <= 0.5 + 1e-9


def test_an_8_bit_file_stays_one(tmp_path, paint):
    path = tmp_path / "plain.mkv"
    plain = np.stack([paint(63, 47, index) for index in range(3)])
    write(path, FFV1, plain)
    seen, found = read(path, 16)
    assert (found, seen.dtype) == (8, np.uint8)
    assert np.array_equal(seen, plain)


def test_uneven_times_are_kept(tmp_path):
    times = [0, 40, 130, 140, 300, 333, 334, 500]
    path = tmp_path / "uneven.mkv"
    write(path, FFV1.at(16), codes(16, (24, 32), frames=8), pts=times)
    with decode(path, bits=16) as frames:
        base = Fraction(frames.info.time_base)
        assert [round(frame.pts * base * 1000) for frame in frames] == times


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("levels", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5], ids=["bt709", "bt601"])
def test_deep_yuv_is_read_as_its_matrix_says(film, bits, levels, matrix):
    red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[matrix]
    scale, top = 1 << (bits - 8), (1 << bits) - 1
    for name, rgb in (("grey", (0.5, 0.5, 0.5)), ("dark", (0.02, 0.05, 0.03)), ("white", (1.0, 1.0, 1.0))):
        luma = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
        chroma = ((rgb[2] - luma) / (2 - 2 * blue), (rgb[0] - luma) / (2 - 2 * red))
        if levels == 1:
            values = [luma * 219 * scale + 16 * scale, *(c * 224 * scale + 128 * scale for c in chroma)]
        else:
            values = [luma * top, *(c * top + 128 * scale for c in chroma)]
        path = film.planes(
            f"{name}-{bits}-{levels}-{matrix}.mkv",
            f"yuv444p{bits}le",
            (32, 16),
            [round(value) for value in values],
            matrix=matrix,
            levels=levels,
        )
        seen, found = read(path, 16)
        assert found == 16
        # A tenth of an 8-bit level, where 8 bits could be off by half of one; plus the rounding of the planes.
        assert np.abs(seen / 65535 - rgb).max() < 0.1 / 255 + 1 / top


def test_deep_rgb_that_is_packed(tmp_path):
    pictures = codes(16, (33, 47))
    path = tmp_path / "packed.mov"
    packed(path, pictures)
    seen, found = read(path, 16)
    assert found == 16
    assert np.array_equal(seen, pictures)


def test_deep_grey_is_read_at_8_bits(film):
    path = film.planes("grey.mkv", "gray10le", (32, 16), [512], levels=2)
    seen, found = read(path, 16)
    assert (found, seen.dtype) == (8, np.uint8)
    assert np.abs(seen.astype(int) - 128).max() <= 1


def test_turned_pictures(tmp_path):
    """The display matrix turns deep pictures as it turns others."""
    pictures = codes(16, (20, 30), frames=1)
    path = tmp_path / "turned.mov"
    packed(path, pictures)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"tkhd") + 44
    raw[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(raw)
    seen, _ = read(path, 16)
    assert np.array_equal(seen[0], np.rot90(pictures[0], -1))


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), "uint16 is written"),
        (np.full((8, 8, 3), 1024, np.uint16), "1023 is the largest"),
        (np.zeros((8, 9, 3), np.uint16), "is written"),
    ],
    ids=["8 bits", "too large", "shape"],
)
def test_what_is_no_picture_of_the_depth_is_refused(tmp_path, picture, words):
    with (
        pytest.raises(ValueError, match=words),
        encode(tmp_path / "a.mkv", FFV1.at(10), width=8, height=8, time_base="1/25", frame_rate=25) as writer,
    ):
        writer.write(picture, 0)
    assert list(tmp_path.iterdir()) == []


def test_samples_beyond_the_depth_are_white(tmp_path):
    """Planes of 10 bits come in 16-bit samples, and nothing keeps a hostile file's within 1023."""
    from multav.video.decode import _codes_of_samples
    from multav.video.info import VideoInfo

    path = tmp_path / "deep.mkv"
    write(path, FFV1.at(10), codes(10, (8, 8)))
    info = probe(path)
    assert isinstance(info, VideoInfo)
    table = _codes_of_samples(info, 10)
    assert np.array_equal(table[:1024], np.arange(1024))
    assert (table[1024:] == 1023).all()


@pytest.mark.parametrize("bits", DEPTHS)
def test_the_estimate_holds_for_noisy_pictures_and_is_not_wild(tmp_path, paint, bits):
    form, peak = FFV1.at(bits), (1 << bits) - 1
    generator = np.random.default_rng(0)
    base = np.clip(paint(160, 120).astype(float), 20, 235) * (peak / 255)
    path = tmp_path / "noisy.mkv"
    pictures = np.stack([base * generator.choice([1 / 1.04, 1.04], base.shape) for _ in range(20)])
    writer = write(path, form, pictures.astype(np.uint16))
    estimate = form.estimate_bytes(160, 120, 20)
    assert 0.4 * estimate < writer.bytes < 1.6 * estimate


def test_bits_out_of_range(tmp_path, paint):
    path = tmp_path / "plain.mkv"
    write(path, FFV1, np.stack([paint(16, 16)]))
    for bits in (7, 17):
        with pytest.raises(ValueError, match="not within 8 to 16"), decode(path, bits=bits):
            pass


@pytest.mark.usefixtures("nothing_left")
def test_no_process_and_no_file_is_left(tmp_path):
    path = tmp_path / "deep.mkv"
    write(path, FFV1.at(16), codes(16, (48, 64), frames=12))
    with decode(path, bits=16) as frames:
        next(iter(frames))
