"""The audit of a finished model: under which attacks, and on which clips."""

from typing import Any

import pytest

from multav.audits.request import AuditRequest
from multav.datasets.listing import ListedVideo, Listing, subset
from multav.training.audit_after import audit_request
from multav.training.videos import training_videos
from tests.multav.training.small_trainings import asked

CLASSES = ("walk", "run", "swim")
LINF: dict[str, Any] = {"kind": "multav-linf", "epsilon": 1.2, "step_size": 1.1, "steps": 2}
PGD: dict[str, Any] = {"kind": "pgd-linf"}


def listing(prefix: str, count: int = 60) -> Listing:
    return Listing(
        CLASSES,
        tuple(ListedVideo(i, f"{prefix}{i}", i % 3, f"{prefix}{i}") for i in range(count)),
    )


def audit(*, own: bool = False, **fields: Any) -> AuditRequest:
    request = asked(**fields)
    return audit_request(
        request,
        model="m",
        sha256="a" * 64,
        dataset=request.dataset if own else "held-out",
        dataset_sha256="b" * 64,
        videos=60,
        looked_at=("train/3", "train/7"),
    )


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"attack": LINF}, ["multav-linf"]),
        ({"attack": LINF, "validation": {"attack": PGD}}, ["multav-linf", "pgd-linf"]),
        ({"attack": LINF, "validation": {"attack": LINF}}, ["multav-linf"]),
        ({"attack": LINF, "validation": {"attack": LINF | {"early_stop": True}}}, ["multav-linf"]),
        ({"attack": LINF, "validation": {"attack": LINF | {"epsilon": 1.1}}}, ["multav-linf", "multav-linf"]),
        (
            {
                "attack": {"kind": "mixture", "attacks": [LINF, PGD, LINF]},
                "validation": {"attack": {"kind": "spa"}},
            },
            ["multav-linf", "pgd-linf", "spa"],
        ),
        ({"attack": None}, ["multav-linf"]),
        ({"attack": None, "validation": {"attack": PGD}}, ["pgd-linf"]),
    ],
)
def test_every_attack_that_the_training_met_is_there_once(fields: dict[str, Any], kinds: list[str]) -> None:
    made = audit(**fields)
    assert [attack.kind for attack in made.attacks] == kinds
    assert AuditRequest.parse(made.model_dump(mode="json")) == made


def test_the_training_comes_first_where_two_differ_in_their_steps_alone() -> None:
    (attack,) = audit(attack=LINF, validation={"attack": LINF | {"step_size": 1.01}}).attacks
    assert attack.model_dump()["step_size"] == 1.1


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_it_is_on_the_clips_that_the_looks_had(seed: int) -> None:
    fields: dict[str, Any] = {"validation": {"dataset": "held-out", "clips": 12}, "seed": seed}
    looked_at = training_videos(asked(**fields), listing("train/"), listing("held-out/")).validation
    drawn = audit(**fields).subset
    audited = subset(listing("held-out/"), count=drawn.count, seed=drawn.seed)
    assert [video.name for video in audited] == [video.name for video in looked_at]
    assert len(audited) == 12


def test_no_more_clips_than_there_are() -> None:
    assert audit(validation={"dataset": "held-out", "clips": 500}).subset.count == 60


def test_of_the_trainings_own_dataset_only_what_was_set_aside() -> None:
    assert audit(own=True).subset.videos == ("train/3", "train/7")
    assert audit().subset.videos is None
