"""The paths alone: sizes, signs and purity, before any picture is made."""

import numpy as np
import pytest

from multav.synthetic.camera_path import MOTIONS, OPPOSITE, CameraPath, Motion, PathRanges, draw_path


def paths(motion: Motion, count: int = 200, frames: int = 8) -> list[CameraPath]:
    return [draw_path(motion, np.random.default_rng(seed), frames=frames) for seed in range(count)]


def net(path: CameraPath) -> dict[str, float]:
    """From first to last frame, in sides that the edge of the picture moves."""
    return {
        "x": float(path.x[-1] - path.x[0]),
        "y": float(path.y[-1] - path.y[0]),
        "zoom": float(path.log_zoom[-1] - path.log_zoom[0]) / 2,
        "roll": float(path.roll[-1] - path.roll[0]) / 2,
    }


@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [
        ("pan right", "x", 1),
        ("pan left", "x", -1),
        ("tilt down", "y", 1),
        ("tilt up", "y", -1),
        ("zoom in", "zoom", 1),
        ("zoom out", "zoom", -1),
        ("roll clockwise", "roll", 1),
        ("roll counter-clockwise", "roll", -1),
    ],
)
def test_a_motion_dominates_in_its_own_direction(motion: Motion, axis: str, sign: int) -> None:
    for path in paths(motion):
        moved = net(path)
        wanted = moved.pop(axis)
        assert wanted * sign > 0.03
        assert max(abs(value) for value in moved.values()) < 0.5 * abs(wanted)


def test_static_trembles_by_less_than_a_fifth_of_a_pixel_mostly() -> None:
    for path in paths("static"):
        assert np.std(path.x) * 56 < 0.3
        assert np.std(path.y) * 56 < 0.3
        assert not path.log_zoom.any()
        assert not path.roll.any()


def test_shake_goes_nowhere_but_is_never_static() -> None:
    time = np.linspace(-0.5, 0.5, 8)
    for path in paths("shake"):
        positions = np.stack([path.x, path.y])
        trend = positions @ time / (time @ time)
        assert np.abs(trend).max() < 0.03  # only the tremor has one
        assert positions.std(axis=1).max() * 56 > 0.4


def test_ranges_set_the_size_of_the_motion() -> None:
    ranges = PathRanges(travel=(0.3, 0.3), tremor=0.0)
    path = draw_path("pan left", np.random.default_rng(0), frames=5, ranges=ranges)
    assert net(path)["x"] == pytest.approx(-0.3, abs=1e-6)


def test_opposites_pair_up() -> None:
    assert set(OPPOSITE) == set(MOTIONS)
    assert all(OPPOSITE[OPPOSITE[motion]] == motion for motion in MOTIONS)
    assert [motion for motion in MOTIONS if OPPOSITE[motion] == motion] == ["static", "shake"]
