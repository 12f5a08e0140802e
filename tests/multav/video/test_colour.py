"""Golden pixels: constant YUV pictures of every matrix, range and depth against the standards' own formulas."""

import numpy as np
import pytest

from multav.video.decode import decode
from multav.video.probe import probe

# ITU-R BT.601-7, BT.709-6, BT.2020-2: the weights of red and blue in luma.
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
TAGS = {"bt601": 6, "bt709": 1, "bt2020": 9}
COLOURS = [(60, 90, 240), (180, 60, 110), (120, 200, 60), (16, 128, 128), (235, 128, 128), (200, 110, 140)]


def expected(matrix, full, values, bits=8):
    """R'G'B' 0..255 (not rounded) of Y'CbCr code values."""
    y, cb, cr = (value / (1 << (bits - 8)) for value in values)
    if full:
        luma, cb, cr = y / ((1 << bits) - 1) * (1 << (bits - 8)), (cb - 128) / 255, (cr - 128) / 255
    else:
        luma, cb, cr = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    red, blue = WEIGHTS[matrix]
    r = luma + 2 * (1 - red) * cr
    b = luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.array([r, g, b]) * 255, 0, 255)


def only_colour(path):
    with decode(path) as frames:
        (frame,) = list(frames)
    levels = frame.rgb.reshape(-1, 3)
    assert (levels == levels[0]).all(), "a constant picture stays constant"
    return levels[0].astype(float)


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", list(WEIGHTS))
def test_tags_are_followed(film, matrix, full):
    for values in COLOURS[:4]:
        path = film.planes(
            "tagged.mkv", "yuv420p", (48, 32), values, matrix=TAGS[matrix], levels=2 if full else 1
        )
        assert np.abs(only_colour(path) - expected(matrix, full, values)).max() < 0.75
    info = probe(path)
    assert (info.color_matrix, info.color_range) == (matrix, "full" if full else "limited")


def test_tags_of_the_bitstream_are_followed(film):
    path = film.planes(
        "h264.mp4", "yuv444p", (48, 32), COLOURS[0], codec="libx264", matrix=9, levels=2, options={"qp": "0"}
    )
    assert np.abs(only_colour(path) - expected("bt2020", True, COLOURS[0])).max() < 0.75


@pytest.mark.parametrize(("height", "matrix"), [(718, "bt601"), (720, "bt709")])
def test_untagged_video_goes_by_its_height(film, height, matrix):
    path = film.planes("untagged.mkv", "yuv420p", (64, height), COLOURS[0])
    assert probe(path).color_matrix == matrix
    assert probe(path).color_range == "limited"
    assert np.abs(only_colour(path) - expected(matrix, False, COLOURS[0])).max() < 0.75


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("sampling", ["420", "422", "444"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_depths_and_samplings(film, sampling, bits, full):
    pixel_format = f"yuv{sampling}p" + ("10le" if bits == 10 else "")
    for values in COLOURS[:3]:
        deep = [value * 4 + 1 for value in values] if bits == 10 else values
        path = film.planes("deep.mkv", pixel_format, (50, 34), deep, matrix=1, levels=2 if full else 1)
        assert probe(path).bit_depth == bits
        # Swscale scales deep full-range levels as if they ended at 255 * 2 ** (bits - 8): 0.3 % off.
        allowed = 1.3 if full and bits > 8 else 0.75
        assert np.abs(only_colour(path) - expected("bt709", full, deep, bits)).max() < allowed


def test_twelve_bits(film):
    values = [value * 16 + 3 for value in COLOURS[0]]
    path = film.planes("twelve.mkv", "yuv444p12le", (48, 32), values, matrix=1, levels=1)
    assert np.abs(only_colour(path) - expected("bt709", False, values, 12)).max() < 0.75


def test_ten_bit_h264(film):
    values = [value * 4 + 2 for value in COLOURS[1]]
    path = film.planes(
        "ten.mp4", "yuv420p10le", (48, 32), values, codec="libx264", matrix=1, levels=1, options={"qp": "0"}
    )
    assert probe(path).pixel_format == "yuv420p10le"
    assert np.abs(only_colour(path) - expected("bt709", False, values, 10)).max() < 1.5


@pytest.mark.parametrize(
    ("levels", "word", "value", "wanted"),
    [(None, "full", 77, 77), (2, "full", 77, 77), (1, "limited", 77, 71), (1, "limited", 240, 255)],
)
def test_grey(film, levels, word, value, wanted):
    path = film.planes("grey.mkv", "gray", (48, 32), [value], levels=levels)
    assert probe(path).color_range == word
    assert only_colour(path).tolist() == [wanted] * 3


def test_motion_jpeg_is_full_range(film):
    path = film.planes(
        "jpeg.avi", "yuvj420p", (48, 32), COLOURS[2], codec="mjpeg", options={"qmin": "1", "qmax": "1"}
    )
    info = probe(path)
    assert (info.container, info.codec, info.color_range) == ("avi", "mjpeg", "full")
    assert np.abs(only_colour(path) - expected("bt601", True, COLOURS[2])).max() < 2.5


def test_alpha_is_dropped(film):
    path = film.planes("alpha.mkv", "yuva420p", (48, 32), [*COLOURS[0], 3], matrix=1, levels=1)
    assert np.abs(only_colour(path) - expected("bt709", False, COLOURS[0])).max() < 0.75


def test_chroma_is_interpolated_and_unbiased(film):
    """Against a float reference with repeated chroma: no darkening, which FFmpeg's fast path brings."""
    rows, columns = np.mgrid[0:64, 0:96]
    smooth = np.stack([columns * 2 + 20, rows * 3 + 20, 200 - columns], axis=-1).astype(np.uint8)
    path = film.write(
        "smooth.mkv", [smooth], codec="ffv1", pixel_format="yuv444p", options={}, matrix=5, levels=1
    )
    with decode(path) as frames:
        seen = next(iter(frames)).rgb.astype(float)
    assert abs((seen - smooth).mean()) < 0.6
