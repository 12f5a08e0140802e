"""Every frame is attacked exactly once, whatever the video's length."""

from itertools import count, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multav.geometry import InputGeometry
from multav.windows import clip_segments, dense_segments, middle_frames, window_count

geometries = st.builds(
    lambda frames, stride: InputGeometry(frames=frames, stride=stride, short_side=8, height=8, width=8),
    frames=st.integers(1, 9),
    stride=st.integers(1, 5),
)


def geometry(frames: int = 8, stride: int = 2) -> InputGeometry:
    return InputGeometry(frames=frames, stride=stride, short_side=8, height=8, width=8)


@given(geometries, st.integers(0, 130))
def test_dense_segments_follow_each_other_and_hold_every_frame_in_one_sample(
    shape: InputGeometry, frames: int
) -> None:
    seen: list[int] = []
    windows = 0
    for segment in dense_segments(range(frames), shape):
        assert segment.start == len(seen)
        assert segment.first_window == windows
        assert segment.pictures == tuple(range(len(seen), len(seen) + len(segment.pictures)))
        in_samples = [segment.start + frame for sample in segment.samples for frame in sample.frames]
        in_windows = {
            segment.start + sample.frames[at]
            for sample in segment.samples
            for window in sample.windows
            for at in window
        }
        seen += segment.pictures
        windows += segment.windows
        # A stride that does not divide a short video leaves no frame out either: every phase is a sample.
        assert sorted(in_samples) == list(segment.pictures)
        assert in_windows == set(segment.pictures)
        assert all(len(window) == shape.frames for sample in segment.samples for window in sample.windows)
    assert seen == list(range(frames))
    assert windows == window_count(frames, shape)


def test_a_run_holds_one_window_per_phase_of_the_stride() -> None:
    (segment,) = dense_segments(range(16), geometry())
    assert [sample.frames for sample in segment.samples] == [tuple(range(0, 16, 2)), tuple(range(1, 16, 2))]
    assert all(sample.windows == (tuple(range(8)),) for sample in segment.samples)


def test_the_last_run_ends_with_the_video_and_shares_its_frames() -> None:
    first, last = dense_segments(range(16 + 16 + 4), geometry())
    assert len(first.pictures) == 16
    assert len(last.pictures) == 20
    # 10 frames a phase: the window that starts the run and the one flush with the end.
    assert last.samples[0].windows == (tuple(range(8)), tuple(range(2, 10)))


def test_a_short_video_loops_from_its_start() -> None:
    (segment,) = dense_segments(range(3), geometry())
    assert segment.samples[0].windows == ((0, 1, 2, 0, 1, 2, 0, 1),)


def test_segments_are_given_out_before_the_video_ends() -> None:
    endless = takewhile(lambda frame: frame < 10**9, count())
    segments = dense_segments(endless, geometry())
    read = [next(segments).start for _ in range(50)]
    assert read == list(range(0, 800, 16))
    assert next(endless) <= 50 * 16 + 2 * 16 + 1


@given(geometries, st.integers(1, 130))
def test_clip_coverage_attacks_the_middle_window_and_passes_the_rest(
    shape: InputGeometry, frames: int
) -> None:
    segments = list(clip_segments(range(frames), shape, frames))
    assert [picture for segment in segments for picture in segment.pictures] == list(range(frames))
    (sample,) = [sample for segment in segments for sample in segment.samples]
    (attacked,) = [segment for segment in segments if segment.samples]
    chosen = {attacked.start + frame for frame in sample.frames}
    assert chosen == middle_frames(frames, shape)
    assert abs((min(chosen) - 0) - (frames - 1 - max(chosen))) <= 1


@pytest.mark.parametrize(
    ("frames", "windows"), [(0, 0), (1, 1), (8, 1), (16, 2), (17, 3), (32, 4), (132, 18)]
)
def test_window_count(frames: int, windows: int) -> None:
    assert window_count(frames, geometry()) == windows
