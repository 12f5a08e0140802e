"""Times strictly increase, whatever a container says."""

from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from multav.video.clock import Clock
from multav.video.container import Refused


def clock(max_seconds=1e9, rate=25):
    rate = Fraction(rate)
    stream = SimpleNamespace(time_base=Fraction(1, 100), average_rate=rate, guessed_rate=rate, base_rate=rate)
    return Clock(stream, max_seconds)


def frame(pts):
    made = av.VideoFrame(16, 16, "rgb24")
    made.pts = pts
    return made


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([0, 4, 8], [0, 4, 8]),
        ([-8, -4, 1], [-8, -4, 1]),
        ([None, None, None], [0, 4, 8]),
        ([10, None, None, 30], [10, 14, 18, 30]),
        ([0, 0, 0, 4], [0, 1, 2, 4]),
        ([100, 50, 60, 104], [100, 101, 102, 104]),
    ],
)
def test_times(given, read):
    times = clock()
    assert [times.read(frame(pts)) for pts in given] == read


def test_the_length_is_bounded_by_the_times_themselves():
    times = clock(max_seconds=2)
    assert times.read(frame(5)) == 5
    assert times.read(frame(205)) == 205
    with pytest.raises(Refused, match="2 s"):
        times.read(frame(206))


def test_the_end_is_a_step_after_the_last_frame():
    times = clock()
    times.read(frame(96))
    assert times.end == pytest.approx(1.0)
