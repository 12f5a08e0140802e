"""The shipped demo model keeps its promises: accuracy, controls, real footage, size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoints import load
from models.demo_model_page import page
from models.evaluate_demo_model import (
    HELD_OUT_SEED,
    SAMPLE,
    evaluate,
    footage_windows,
    picture_scores,
    probabilities,
    sample_pictures,
)
from models.pixel_classifier import PixelClassifier
from models.train_demo_model import Recipe, demo_card, make_clips, train
from multav.model_card import read_card
from multav.synthetic.camera_motion import CLASSES, camera_motion_clips

CHECKPOINT = Path(__file__).parents[2] / "models" / "checkpoints" / "camera-motion-r3d18.safetensors"


@pytest.fixture(scope="module")
def classifier() -> PixelClassifier:
    return load(CHECKPOINT)


def test_it_is_small_and_its_card_says_what_it_is() -> None:
    assert CHECKPOINT.stat().st_size <= 5_000_000
    card = read_card(CHECKPOINT)
    assert card.name == "camera-motion-r3d18"
    assert card.classes == CLASSES
    assert card.geometry.frames == 8
    assert card.geometry.stride == 2
    assert card.licence == "Apache-2.0"
    assert card.provenance == demo_card(Recipe(), {}).provenance
    assert card.metrics["held-out synthetic clips"] >= 0.97
    assert Recipe().seed != HELD_OUT_SEED


def test_the_page_says_what_the_card_says() -> None:
    assert CHECKPOINT.with_suffix(".md").read_text(encoding="utf-8") == page(read_card(CHECKPOINT))


def test_held_out_clips_and_controls(classifier: PixelClassifier) -> None:
    scores = evaluate(classifier, clips=200)
    assert scores["held-out synthetic clips"].accuracy >= 0.97
    # one frame cannot tell: everything stands still
    assert 0.08 <= scores["middle frame repeated"].accuracy <= 0.12
    # of ten classes only static and shake are what they were
    assert scores["reversed in time"].accuracy <= 0.25
    assert scores["reversed in time, as the opposite motion"].accuracy >= 0.95


@pytest.mark.slow
def test_moving_crops_of_real_pictures(classifier: PixelClassifier) -> None:
    scores = picture_scores(classifier, "bigbuckbunny", sample_pictures(), clips=100)
    assert scores["moving crops of bigbuckbunny"].accuracy >= 0.93


def test_the_still_camera_of_the_sample_reads_static(classifier: PixelClassifier) -> None:
    read = probabilities(classifier, footage_windows(SAMPLE, classifier.geometry))
    assert len(read) >= 16
    assert (read.argmax(dim=1) == CLASSES.index("static")).all()
    assert read[:, CLASSES.index("static")].mean() >= 0.9


@pytest.mark.slow
def test_training_is_reproducible() -> None:
    """A training of seconds: the same recipe gives the same clips and the same weights."""
    recipe = Recipe(clips=20, steps=4, batch=10)
    clips = make_clips(recipe, processes=1)
    assert np.array_equal(clips.pixels, camera_motion_clips(range(20), seed=recipe.seed).pixels)
    first, again = train(clips, recipe), train(clips, recipe)
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name]), name
