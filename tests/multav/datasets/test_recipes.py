"""Every window holds the model's number of frames of the video, whatever the video's length."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multav.datasets.recipes import RECIPES, Recipe, hara_windows, model_windows, paper_windows, windows_of
from multav.geometry import InputGeometry
from multav.windows import middle_frames

geometries = st.builds(
    lambda frames, stride: InputGeometry(frames=frames, stride=stride, short_side=8, height=8, width=8),
    frames=st.integers(1, 50),
    stride=st.integers(1, 5),
)
lengths = st.integers(1, 300)


def geometry(frames: int, stride: int = 1) -> InputGeometry:
    return InputGeometry(frames=frames, stride=stride, short_side=8, height=8, width=8)


@given(st.sampled_from(sorted(RECIPES)), lengths, geometries)
def test_windows_have_the_right_length_and_only_frames_that_there_are(
    recipe: Recipe, frames: int, shape: InputGeometry
) -> None:
    windows = windows_of(recipe, frames, shape)
    assert windows
    for window in windows:
        assert len(window) == shape.frames
        assert all(0 <= index < frames for index in window)


@given(lengths, geometries)
def test_one_window_goes_forwards_and_loops_from_the_first_frame_only_where_the_video_is_short(
    frames: int, shape: InputGeometry
) -> None:
    for windows in (model_windows(frames, shape), paper_windows(frames, shape)):
        (window,) = windows
        steps = {later - earlier for earlier, later in pairwise(window)}
        if frames >= shape.frames:
            assert len(steps) <= 1
            assert all(step >= 1 for step in steps)
        else:
            assert window == tuple(index % frames for index in range(shape.frames))


@given(lengths, geometries)
def test_the_model_recipe_is_the_clip_that_an_attack_acts_on(frames: int, shape: InputGeometry) -> None:
    (window,) = model_windows(frames, shape)
    assert set(window) == middle_frames(frames, shape)
    if frames >= shape.span:
        before, after = window[0], frames - 1 - window[-1]
        assert abs(before - after) <= 1


@given(st.integers(40, 2000))
@example(40)
@example(79)
@example(80)
def test_the_paper_recipe_is_the_authors_sampling(frames: int) -> None:
    # The rule of the authors' loader in its own words: numbers from 1, every n // 40th, the first 40 of them.
    stride = frames // 40
    numbers = [number for number in range(1, frames + 1) if (number - 1) % stride == 0][:40]
    assert paper_windows(frames, geometry(40, stride=3)) == (tuple(number - 1 for number in numbers),)


def test_the_paper_recipe_by_hand() -> None:
    assert paper_windows(79, geometry(40)) == (tuple(range(40)),)
    assert paper_windows(85, geometry(40)) == (tuple(range(0, 80, 2)),)
    assert paper_windows(3, geometry(8)) == ((0, 1, 2, 0, 1, 2, 0, 1),)


@given(lengths, geometries)
def test_hara_windows_lie_side_by_side_and_hold_every_frame(frames: int, shape: InputGeometry) -> None:
    windows = hara_windows(frames, shape)
    assert len(windows) == -(-frames // shape.frames)
    flat = [index for window in windows for index in window]
    assert flat[:frames] == list(range(frames))


def test_hara_windows_by_hand() -> None:
    assert hara_windows(8, geometry(4)) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert hara_windows(6, geometry(4)) == ((0, 1, 2, 3), (4, 5, 4, 5))
    assert hara_windows(5, geometry(4)) == ((0, 1, 2, 3), (4, 4, 4, 4))


def test_no_frame_no_window() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        windows_of("paper", 0, geometry(4))
