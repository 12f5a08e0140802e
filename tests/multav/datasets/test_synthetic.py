"""The built-in dataset."""

from pathlib import Path

import numpy as np
import pytest

from models import evaluate_demo_model
from multav.datasets.made_video import MadeVideo
from multav.datasets.synthetic import HELD_OUT_SEED, Synthetic
from multav.model_card import read_card
from multav.synthetic.camera_motion import camera_motion_clips

CHECKPOINT = Path(evaluate_demo_model.__file__).parent / "checkpoints" / "camera-motion-r3d18.safetensors"


def test_its_classes_and_size_are_those_of_the_shipped_model() -> None:
    card, dataset = read_card(CHECKPOINT), Synthetic()
    assert dataset.listing().classes == card.classes
    assert (dataset.frames, dataset.size, dataset.size) == (
        card.geometry.frames,
        card.geometry.height,
        card.geometry.width,
    )


def test_its_seed_is_the_one_that_was_held_out() -> None:
    assert HELD_OUT_SEED == evaluate_demo_model.HELD_OUT_SEED
    assert Synthetic().seed == HELD_OUT_SEED


def test_a_clip_does_not_depend_on_how_many_there_are() -> None:
    few, many = Synthetic(clips=4).listing(), Synthetic(clips=40).listing()
    assert few.videos == many.videos[:4]
    one = few.videos[3]
    assert isinstance(one, MadeVideo)
    expected = camera_motion_clips(range(4), seed=HELD_OUT_SEED)
    np.testing.assert_array_equal(one.pictures(), expected.pixels[3].transpose(1, 2, 3, 0))
    assert [video.label for video in few.videos] == expected.labels.tolist()


def test_size_frames_and_seed_may_be_chosen() -> None:
    first = Synthetic(clips=1, size=16, frames=5, seed=3).listing().videos[0]
    other = Synthetic(clips=1, size=16, frames=5, seed=4).listing().videos[0]
    assert isinstance(first, MadeVideo)
    assert isinstance(other, MadeVideo)
    assert first.pictures().shape == (5, 16, 16, 3)
    assert first.formula != other.formula
    assert (first.pictures() != other.pictures()).any()
    with pytest.raises(ValueError, match="multiple of 4"):
        Synthetic(size=57)
