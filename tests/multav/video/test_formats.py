"""What the formats promise before a file is written."""

import numpy as np
import pytest

from multav.video.encode import encode
from multav.video.formats import FORMATS


@pytest.mark.parametrize("form", FORMATS.values(), ids=str)
def test_names_suffixes_and_types(form):
    assert FORMATS[form.name] is form
    assert form.suffix == "." + form.name.rpartition("-")[2]
    assert form.media_type == {".mp4": "video/mp4", ".mkv": "video/x-matroska"}[form.suffix]


@pytest.mark.parametrize("form", FORMATS.values(), ids=str)
def test_the_estimate_holds_for_noisy_pictures_and_is_not_wild(tmp_path, paint, form):
    """A picture with noise of a few per cent, as an attack makes it: never above the estimate."""
    rng = np.random.default_rng(0)
    base = np.clip(paint(160, 120).astype(float), 20, 235)
    path = tmp_path / f"out{form.suffix}"
    with encode(path, form, width=160, height=120, time_base="1/25", frame_rate=25) as writer:
        for index in range(20):
            noisy = base * rng.choice([1 / 1.04, 1.04], base.shape)
            writer.write(noisy.astype(np.uint8), index)
    estimate = form.estimate_bytes(160, 120, 20)
    if form.lossless:
        assert 0.4 * estimate < writer.bytes < 1.6 * estimate
    assert form.estimate_bytes(160, 120, 2000) < 2000 * 160 * 120 * 3


@pytest.mark.parametrize("form", FORMATS.values(), ids=str)
def test_the_estimate_grows_with_frames_and_size(form):
    assert (
        form.estimate_bytes(64, 64, 10)
        < form.estimate_bytes(64, 64, 1000)
        < form.estimate_bytes(128, 64, 1000)
    )


def test_the_estimate_falls_with_crf():
    h264 = FORMATS["h264-mp4"]
    sizes = [h264.estimate_bytes(1280, 720, 132, crf=crf) for crf in range(52)]
    assert sizes == sorted(sizes, reverse=True)
    assert h264.estimate_bytes(1280, 720, 132) == sizes[23]
    assert 1.3e6 < sizes[23] < 10e6, "the shipped sample came to 1.3 MB"


def test_crf_is_for_h264_only():
    assert FORMATS["h264-mp4"].codec_options(17)["crf"] == "17"
    assert FORMATS["h264-mp4"].codec_options(None)["crf"] == "23"
    with pytest.raises(ValueError, match="not within 0 to 51"):
        FORMATS["h264-mp4"].codec_options(52)
    with pytest.raises(ValueError, match="takes no crf"):
        FORMATS["ffv1-mkv"].codec_options(10)


def test_odd_sides_keep_whole_chroma():
    h264 = FORMATS["h264-mp4"]
    assert [h264.pixel_format(*size) for size in ((64, 48), (63, 48), (64, 47))] == [
        "yuv420p",
        "yuv444p",
        "yuv444p",
    ]
