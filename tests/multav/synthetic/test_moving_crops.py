"""Moving crops: reproducible one by one, inside the picture, pictures only enlarged or reduced."""

import numpy as np
import pytest
from numpy.typing import NDArray

from multav.synthetic.camera_motion import CLASSES
from multav.synthetic.moving_crops import moving_crops


def test_a_crop_alone_is_the_crop_in_a_batch(pictures: list[NDArray[np.uint8]]) -> None:
    batch = moving_crops(pictures, range(8), seed=1)
    alone = moving_crops(pictures, [5], seed=1)
    assert np.array_equal(alone.pixels[0], batch.pixels[5])
    assert [CLASSES[label] for label in batch.labels] == list(CLASSES[:8])


@pytest.mark.parametrize(("height", "width"), [(120, 120), (90, 300), (300, 90), (56, 56)])
def test_the_camera_never_leaves_the_picture(height: int, width: int) -> None:
    """Over ramps of brightness a mirrored edge would show as a ramp that turns back."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, :, 0] = np.linspace(1, 255, width)[None, :]
    picture[:, :, 1] = np.linspace(1, 255, height)[:, None]
    clips = moving_crops([picture], [1, 2, 3, 4, 5, 6], seed=2)
    red, green = clips.pixels[:, 0].astype(int), clips.pixels[:, 1].astype(int)
    # pans, tilts and zooms keep rows and columns but for small rolls: the ramps never turn back
    assert (np.diff(red, axis=-1) >= -1).all()
    assert (np.diff(green, axis=-2) >= -1).all()


def test_values_are_those_of_the_picture() -> None:
    grey = np.full((80, 80, 3), 77, np.uint8)
    assert (moving_crops([grey], range(10), seed=0).pixels == 77).all()
