"""Where the camera looks in each frame of a clip: one random path per motion, in words about the camera.

Signs, once and for all. A path is said of the CAMERA, so the scene does the opposite in the picture:

    pan right          the camera turns right      the scene moves left
    tilt up            the camera turns up         the scene moves down
    zoom in            the picture magnifies       the scene grows from the centre
    roll clockwise     the camera turns clockwise  the scene turns counter-clockwise
                       (as seen from behind it)
    static             nothing but a tremor below a fifth of a pixel
    shake              quick movement to and fro, going nowhere
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

Motion = Literal[
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "roll clockwise",
    "roll counter-clockwise",
    "shake",
]
MOTIONS: tuple[Motion, ...] = get_args(Motion)

OPPOSITE: dict[Motion, Motion] = {
    "static": "static",
    "pan left": "pan right",
    "pan right": "pan left",
    "tilt up": "tilt down",
    "tilt down": "tilt up",
    "zoom in": "zoom out",
    "zoom out": "zoom in",
    "roll clockwise": "roll counter-clockwise",
    "roll counter-clockwise": "roll clockwise",
    "shake": "shake",
}
"""What a clip shows when it runs backwards."""

_AXES: dict[Motion, tuple[int, float]] = {
    "pan right": (0, 1.0),
    "pan left": (0, -1.0),
    "tilt down": (1, 1.0),
    "tilt up": (1, -1.0),
    "zoom in": (2, 1.0),
    "zoom out": (2, -1.0),
    "roll clockwise": (3, 1.0),
    "roll counter-clockwise": (3, -1.0),
}
"""Column of `CameraPath.columns` that a motion drives, and its sign."""


@dataclass(frozen=True)
class CameraPath:
    """The camera in each of T frames. Arrays are float32 (T,), about 0 at the middle of the clip.

    x and y are in sides of the (square) picture, right and down positive; `log_zoom` is the natural log of
    the magnification; `roll` is in radians, clockwise positive.
    """

    x: Floats
    y: Floats
    log_zoom: Floats
    roll: Floats


@dataclass(frozen=True)
class PathRanges:
    """How far the camera goes from the first frame to the last: (least, most), drawn log-uniformly."""

    travel: tuple[float, float] = (0.07, 0.5)
    """Pans and tilts, in sides of the picture (4 to 28 pixels of 56)."""
    zoom: tuple[float, float] = (0.10, 0.6)
    """Natural log of the magnification (1.1 to 1.8 times)."""
    roll: tuple[float, float] = (6.0, 50.0)
    """Degrees."""
    shake: tuple[float, float] = (0.016, 0.06)
    """Standard deviation of the position, in sides of the picture (0.9 to 3.4 pixels of 56)."""
    tremor: float = 0.006
    """Largest standard deviation of the unsteady hand on moving classes, in sides (a third of a pixel)."""
    stillness: float = 0.0025
    """The same for `static` (a seventh of a pixel)."""
    impurity: float = 0.15
    """Largest share of unwanted motion (a pan that also climbs a little), relative to the wanted one."""
    easing: float = 0.6
    """Largest change of speed within the clip: 0.6 goes from 0.4 to 1.6 of the mean, or back."""


def draw_path(
    motion: Motion, generator: np.random.Generator, *, frames: int, ranges: PathRanges | None = None
) -> CameraPath:
    """A random path of `frames` steps that a person would call `motion`."""
    ranges = ranges or PathRanges()
    columns = np.zeros((frames, 4), np.float32)
    if motion in _AXES:
        columns += _steady_motion(motion, generator, frames=frames, ranges=ranges)
    if motion == "shake":
        columns += _shake(generator, frames=frames, ranges=ranges)
    tremor = generator.uniform(0, ranges.stillness if motion == "static" else ranges.tremor)
    columns[:, :2] += tremor * generator.standard_normal((frames, 2), np.float32)
    x, y, log_zoom, roll = columns.T
    return CameraPath(x=x, y=y, log_zoom=log_zoom, roll=roll)


def _steady_motion(
    motion: Motion, generator: np.random.Generator, *, frames: int, ranges: PathRanges
) -> Floats:
    """(T,4): the wanted motion with its easing, and small unwanted ones of comparable pixel speed."""
    axis, sign = _AXES[motion]
    least_most = (ranges.travel, ranges.travel, ranges.zoom, tuple(np.deg2rad(ranges.roll)))[axis]
    extent = np.exp(generator.uniform(*np.log(least_most)))
    clock = _eased_clock(generator, frames=frames, easing=ranges.easing)

    # 1 of zoom or roll moves the middle of the picture's edge by half a side, as a travel of 0.5 does
    sides_per_unit = np.array([1.0, 1.0, 0.5, 0.5])
    unwanted = generator.uniform(-ranges.impurity, ranges.impurity, 4) * extent * sides_per_unit[axis]
    rates = unwanted / sides_per_unit
    rates[axis] = sign * extent
    motion_of_all: Floats = (clock[:, None] * rates).astype(np.float32)
    return motion_of_all


def _eased_clock(generator: np.random.Generator, *, frames: int, easing: float) -> Floats:
    """(T,): time from -0.5 to 0.5, running faster towards one end."""
    time = np.linspace(-0.5, 0.5, frames)
    return (time + generator.uniform(-easing, easing) * (time**2 - 0.25)).astype(np.float32)


def _shake(generator: np.random.Generator, *, frames: int, ranges: PathRanges) -> Floats:
    """(T,4): random positions and small rolls without a linear trend, scaled to the drawn strength."""
    strength = np.exp(generator.uniform(*np.log(ranges.shake)))
    time = np.linspace(-0.5, 0.5, frames)
    shake = generator.standard_normal((frames, 4)) * [1.0, generator.uniform(0.3, 1.0), 0.1, 0.5]
    if generator.random() < 0.5:
        shake[:, :2] = shake[:, 1::-1]
    shake -= shake.mean(0)
    shake -= np.outer(time, time @ shake / (time @ time))
    # exact strength for the position, so that no draw is so weak that it is static
    shake *= strength / np.sqrt(np.square(shake[:, :2]).mean(0).max())
    return shake.astype(np.float32)
