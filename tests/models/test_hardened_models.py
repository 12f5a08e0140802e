"""The demo model's siblings: small, described by what was measured, and hardened."""

import json
from pathlib import Path

import pytest
import torch

from models.checkpoints import load
from models.hardened_models_page import FOLDER, MEASURED, NAMES, PAGE, page
from models.ship_trained import measured
from multav.model_card import ModelCard, read_card
from multav.synthetic.camera_motion import CLASSES
from multav.training.request import TrainingRequest

CLIPS = 100


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.safetensors"


@pytest.fixture(params=NAMES)
def card(request: pytest.FixtureRequest) -> ModelCard:
    return read_card(path_of(request.param))


def test_it_is_small_and_says_how_it_was_made(card: ModelCard) -> None:
    assert path_of(card.name).stat().st_size <= 5_000_000
    assert card.classes == CLASSES
    assert card.licence == "Apache-2.0"
    assert card.training_job is None, "that job is in nobody else's database"
    body = json.loads(card.provenance.removeprefix("POST /v1/trainings "))
    assert TrainingRequest.parse(body).dataset == "camera-motion-train"
    assert card.metrics.keys() == MEASURED.keys()


def test_they_differ_in_the_attack_alone() -> None:
    bodies = [
        TrainingRequest.parse(
            json.loads(read_card(path_of(name)).provenance.removeprefix("POST /v1/trainings "))
        )
        for name in NAMES
    ]
    assert [[attack.kind for attack in body.attacks] for body in bodies] == [
        [],
        ["pgd-linf"],
        ["multav-linf"],
    ]
    rest = [body.model_dump(exclude={"name", "attack", "ramp"}) for body in bodies]
    assert rest[0] == rest[1] == rest[2]


def test_the_page_says_what_the_cards_say() -> None:
    text = (FOLDER / PAGE).read_text(encoding="utf-8")
    assert text == page([read_card(path_of(name)) for name in NAMES])


def test_hardening_matters_as_much_as_the_cards_say() -> None:
    """On fewer clips than the cards speak of."""
    torch.set_num_threads(1)
    clean, _, multav = (load(path_of(name)) for name in NAMES)
    for classifier in (clean, multav):
        found = measured(classifier, CLIPS)
        for metric, accuracy in found.items():
            # Four standard deviations of so few.
            assert accuracy == pytest.approx(classifier.card.metrics[metric], abs=0.2), metric
    under = "under MultAV-linf, ratio bound 1.04"
    assert multav.card.metrics[under] > clean.card.metrics[under] + 0.2
