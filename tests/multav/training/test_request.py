"""What a training may be asked for: the paper's recipe if nothing is said, and every refusal where it belongs."""

from typing import Any

import pytest

from multav.attacks.multav_linf import MultavLinf
from multav.errors import InvalidSpec
from multav.reproduction.plan import Scale
from multav.reproduction.scales import paper_scale, small_scale
from multav.training.optimisers import Multistep, Sgd
from multav.training.request import AUTO_BATCH, Mixture, TrainingRequest

PGD = {"kind": "pgd-linf"}
MIXED = {"kind": "mixture", "attacks": [{"kind": "multav-linf"}, PGD]}


def test_nothing_said_is_the_papers_recipe() -> None:
    """SGD at 5e-4 with momentum 0.9 and decay 1e-5, a tenth of it behind epoch 7 of 15, batches of 4 (E1, E2)."""
    request = TrainingRequest.parse({})
    assert request.optimiser == Sgd(learning_rate=5e-4, momentum=0.9, weight_decay=1e-5, nesterov=False)
    assert request.schedule == Multistep(milestones=(7,), gamma=0.1, warm_up=0.0)
    assert (request.epochs, request.steps, request.batch_size, request.seed) == (15, None, 4, 1)
    assert request.attack == MultavLinf(epsilon=1.04, steps=5)
    assert request.attacks == request.validation_attacks == (request.attack,)
    assert (request.method, request.clean_fraction, request.ramp) == ("madry", 0.0, 0.0)
    assert (request.label_smoothing, request.gradient_norm, request.average) == (0.0, None, None)
    assert request.augmentation.model_dump() == {"flip": 0.0, "shift": 0, "brightness": 0.0}
    assert (request.select, request.patience, request.accumulation) == ("best", None, 1)
    assert TrainingRequest.parse(request.model_dump(mode="json")) == request


def test_what_is_attacked_with() -> None:
    assert TrainingRequest.parse({"attack": None}).attacks == ()
    mixed = TrainingRequest.parse({"attack": MIXED})
    assert isinstance(mixed.attack, Mixture)
    assert [attack.kind for attack in mixed.attacks] == ["multav-linf", "pgd-linf"]
    assert mixed.validation_attacks == mixed.attacks
    assert mixed.attack.choice == "random"
    other = TrainingRequest.parse({"attack": MIXED, "validation": {"attack": PGD}})
    assert [attack.kind for attack in other.validation_attacks] == ["pgd-linf"]
    assert TrainingRequest.parse({"batch_size": "auto"}).clips_per_step == AUTO_BATCH


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # Fields that are together wrong.
    ({"start": {"model": "a", "architecture": "resnet3d"}}, "/start", "each say"),
    ({"start": {"architecture": "resnet3d", "head": "keep"}}, "/start/head", "no head to keep"),
    ({"attack": None, "method": "trades"}, "/method", "trades needs an attack"),
    ({"attack": None, "method": "fast"}, "/method", "fast needs an attack"),
    ({"attack": None, "method": "free"}, "/method", "free needs an attack"),
    ({"attack": MIXED, "method": "fast"}, "/attack", "takes one attack"),
    ({"attack": MIXED, "method": "free"}, "/attack", "takes one attack"),
    ({"attack": {"kind": "apgd-linf"}, "method": "fast"}, "/attack/kind", "steps of a fixed size"),
    ({"attack": {"kind": "apgd-ratio"}, "method": "free"}, "/attack/kind", "steps of a fixed size"),
    ({"attack": {"kind": "multav-roa"}, "method": "free"}, "/attack/kind", "moves all pixels"),
    ({"method": "trades", "clean_fraction": 0.5}, "/clean_fraction", "every clip clean and attacked"),
    (
        {"method": "trades", "attack": {"kind": "roa", "placement": "gradient"}},
        "/attack/placement",
        "no gradient to rank places by",
    ),
    ({"ramp": 0.4, "attack": {"kind": "multav-l2", "bound": "literal"}}, "/ramp", "the darker"),
    (
        {
            "ramp": 0.4,
            "attack": {"kind": "mixture", "attacks": [PGD, {"kind": "multav-l2", "bound": "literal"}]},
        },
        "/ramp",
        "the darker",
    ),
    ({"clean_fraction": 0.1}, "/clean_fraction", "of 4 clips that is none"),
    ({"clean_fraction": 0.9}, "/clean_fraction", "of 4 clips that is all"),
    ({"attack": PGD | {"targeted": True}}, "/attack/targeted", "no class to reach"),
    (
        {"attack": {"kind": "mixture", "attacks": [PGD, PGD | {"targeted": True}]}},
        "/attack/attacks/1/targeted",
        "no class to reach",
    ),
    (
        {"validation": {"attack": PGD | {"targeted": True}}},
        "/validation/attack/targeted",
        "no class to reach",
    ),
    ({"accumulation": 3}, "/accumulation", "at most 2"),
    ({"accumulation": 17, "batch_size": "auto"}, "/accumulation", "at most 16"),
    (
        {"dataset": "x", "validation": {"dataset": "x"}},
        "/validation/dataset",
        "these are the training videos",
    ),
    ({"optimiser": {"kind": "sgd", "momentum": 0.0, "nesterov": True}}, "/optimiser", "looks ahead"),
    # Fields that would change nothing beside the others.
    ({"beta": 3.0}, "/beta", "of method trades, and the method is madry"),
    ({"beta": 3.0, "method": "fast"}, "/beta", "the method is fast"),
    ({"crafting": "loss"}, "/crafting", "of method trades, and the method is madry"),
    ({"replays": 8}, "/replays", "of method free, and the method is madry"),
    ({"replays": 8, "method": "trades"}, "/replays", "the method is trades"),
    ({"ramp": 0.4, "attack": None}, "/ramp", "the training is clean"),
    ({"clean_fraction": 0.1, "attack": None}, "/clean_fraction", "every clip stays clean"),
    ({"steps": 30, "epochs": 2}, "/epochs", "has 30 steps"),
    (
        {"start": {"architecture": "resnet3d", "model_sha256": "f" * 64}},
        "/start/model_sha256",
        "no SHA-256",
    ),
    ({"validation": {"dataset_sha256": "f" * 64}}, "/validation/dataset_sha256", "no validation dataset"),
    ({"validation": {"dataset": "x", "share": 0.2}}, "/validation/share", "dataset x is looked at"),
    ({"schedule": {"kind": "multistep", "milestones": [], "gamma": 0.5}}, "/schedule/gamma", "never falls"),
    ({"subset": {"count": 3, "per_class": 1}}, "/subset", "each say how many"),
    # Fields that are wrong by themselves.
    ({"epoch": 3}, "/epoch", "is it epochs"),
    ({"attack": {"kind": "fgsm"}}, "/attack", "there is no kind 'fgsm'"),
    ({"attack": {"epsilon": 1.1}}, "/attack", "must say its kind"),
    ({"attack": {"kind": "multav-linf", "epsilon": 0.9}}, "/attack/epsilon", "no ratio"),
    ({"attack": {"kind": "multav-linf", "width": 2}}, "/attack/width", "it belongs to"),
    (
        {"attack": {"kind": "mixture", "attacks": [PGD, {"kind": "af", "width": "x"}]}},
        "/attack/attacks/1/width",
        "integer",
    ),
    ({"attack": {"kind": "mixture", "attacks": [PGD]}}, "/attack/attacks", "at least 2 entries"),
    ({"attack": MIXED | {"choice": "best"}}, "/attack/choice", "'random' or 'worst'"),
    ({"validation": {"attack": {"kind": "roa", "size": 0}}}, "/validation/attack/size", "1"),
    ({"validation": {"share": 0.6}}, "/validation/share", "0.5"),
    ({"validation": {"share": 0.0}}, "/validation/share", "greater than 0"),
    ({"validation": {"every_epochs": 0}}, "/validation/every_epochs", "1"),
    ({"validation": {"dataset_sha256": "abc"}}, "/validation/dataset_sha256", "64 digits"),
    ({"optimiser": {"kind": "adam"}}, "/optimiser", "there is no kind 'adam'"),
    ({"optimiser": {"kind": "sgd", "learning_rate": 0.0}}, "/optimiser/learning_rate", "greater than 0"),
    ({"optimiser": {"kind": "sgd", "momentum": 1.0}}, "/optimiser/momentum", "less than 1"),
    ({"optimiser": {"kind": "adamw", "momentum": 0.9}}, "/optimiser/momentum", "no such field"),
    ({"schedule": {"kind": "linear"}}, "/schedule", "there is no kind 'linear'"),
    ({"schedule": {"kind": "multistep", "milestones": [0]}}, "/schedule/milestones/0", "1"),
    ({"schedule": {"kind": "cosine", "warm_up": 1.5}}, "/schedule/warm_up", "1"),
    ({"schedule": {"kind": "constant", "gamma": 0.1}}, "/schedule/gamma", "no such field"),
    ({"augmentation": {"flip": 2.0}}, "/augmentation/flip", "1"),
    ({"augmentation": {"shift": 1.5}}, "/augmentation/shift", "integer"),
    ({"augmentation": {"rotate": 1}}, "/augmentation/rotate", "no such field"),
    (
        {"start": {"geometry": {"frames": 0, "stride": 1, "short_side": 8, "height": 8, "width": 8}}},
        "/start/geometry/frames",
        "1",
    ),
    ({"start": {"head": "old"}}, "/start/head", "'auto'"),
    ({"start": []}, "/start", "JSON object"),
    ({"method": "pgd"}, "/method", "'madry'"),
    ({"recipe": "hara"}, "/recipe", "'model' or 'paper'"),
    ({"batch_size": 1}, "/batch_size", "2"),
    ({"batch_size": 4097}, "/batch_size", "4096"),
    ({"epochs": 0}, "/epochs", "1"),
    ({"epochs": "15"}, "/epochs", "integer"),
    ({"steps": 0}, "/steps", "1"),
    ({"replays": 1}, "/replays", "2"),
    ({"beta": 0.0}, "/beta", "greater than 0"),
    ({"crafting": "kl"}, "/crafting", "'divergence' or 'loss'"),
    ({"ramp": 1.1}, "/ramp", "1"),
    ({"clean_fraction": 1.0}, "/clean_fraction", "less than 1"),
    ({"average": 1.0}, "/average", "less than 1"),
    ({"label_smoothing": -0.1}, "/label_smoothing", "0"),
    ({"gradient_norm": 0.0}, "/gradient_norm", "greater than 0"),
    ({"gradient_norm": float("nan")}, "/gradient_norm", "finite"),
    ({"name": "No Spaces"}, "/name", "small letters"),
    ({"precision": "float16"}, "/precision", "'auto'"),
    ({"select": "worst"}, "/select", "'best' or 'last'"),
    ({"patience": 0}, "/patience", "1"),
    ({"seed": -1}, "/seed", "0"),
    ({"devices": 3}, "/devices", "cannot be shared"),
    ({"checkpoint_minutes": 0.0}, "/checkpoint_minutes", "greater than 0"),
    ({"audit": 1}, "/audit", "boolean"),
    ({"dataset": 3}, "/dataset", "string"),
    ({"dataset_sha256": "F" * 64}, "/dataset_sha256", "64 digits"),
]


@pytest.mark.parametrize(("body", "pointer", "words"), REFUSED, ids=lambda each: str(each)[:60])
def test_a_refusal_points_at_the_field(body: dict[str, Any], pointer: str, words: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        TrainingRequest.parse(body)
    assert [error["pointer"] for error in refused.value.errors] == [pointer]
    assert words in refused.value.errors[0]["detail"]
    assert refused.value.errors[0]["detail"] in str(refused.value)


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_a_training_is_an_object(body: Any) -> None:
    with pytest.raises(InvalidSpec, match="must be a JSON object"):
        TrainingRequest.parse(body)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidSpec) as refused:
        TrainingRequest.parse({"epochs": 0, "schedule": {"kind": "cosine", "floor": 2.0}, "x": 1})
    assert {error["pointer"] for error in refused.value.errors} == {"/epochs", "/schedule/floor", "/x"}
    with pytest.raises(InvalidSpec) as refused:
        TrainingRequest.parse({"method": "trades", "clean_fraction": 0.5, "accumulation": 4})
    assert {error["pointer"] for error in refused.value.errors} == {"/clean_fraction", "/accumulation"}


@pytest.mark.parametrize(
    "body",
    [
        {"accumulation": 2},
        {"clean_fraction": 0.25},
        {"clean_fraction": 0.1, "batch_size": 16},
        {"start": {"model": "a", "head": "keep"}},
        {"start": {"model": "a", "arguments": {"denoise": "official"}}},
        {"start": {"architecture": "resnet3d", "arguments": {"depth": 10}, "head": "new"}},
        {"attack": {"kind": "spa"}, "method": "fast"},
        {"attack": {"kind": "multav-l2"}, "method": "free"},
        {"attack": {"kind": "apgd-linf"}, "method": "trades"},
        {"attack": None, "validation": {"attack": PGD}},
        {"validation": {"dataset": "another"}},
        # What is set to what it is anyway.
        {"attack": None, "ramp": 0.0, "clean_fraction": 0.0, "beta": 6.0, "replays": 4},
        {"steps": 30, "epochs": 15},
        {"method": "trades", "beta": 3.0, "ramp": 0.4},
        {"ramp": 0.4, "attack": {"kind": "multav-l2"}},
        {"ramp": 0.4, "attack": {"kind": "multav-l2", "bound": "rms"}},
        {"ramp": 0.4, "validation": {"attack": {"kind": "multav-l2", "bound": "literal"}}},
        {"attack": {"kind": "multav-l2", "bound": "literal"}},
        {"method": "trades", "crafting": "loss", "attack": {"kind": "roa", "placement": "gradient"}},
        {"method": "trades", "validation": {"attack": {"kind": "roa", "placement": "gradient"}}},
        {"method": "free", "replays": 8, "clean_fraction": 0.5},
        {"schedule": {"kind": "multistep", "milestones": []}},
        {"validation": {"share": 0.3}},
        {"validation": {"dataset": "another", "dataset_sha256": "f" * 64}},
        {"start": {"model_sha256": "f" * 64}},
    ],
)
def test_what_goes_together(body: dict[str, Any]) -> None:
    request = TrainingRequest.parse(body)
    assert TrainingRequest.parse(request.model_dump(mode="json")) == request


@pytest.mark.parametrize(
    "scale", [small_scale(), paper_scale("kinetics", "train", "test")], ids=["small", "paper"]
)
def test_every_training_of_table_1_is_one(scale: Scale) -> None:
    for fields in ({}, {"attack": None, **scale.clean_training}):
        request = TrainingRequest.parse(scale.training | fields)
        assert TrainingRequest.parse(request.model_dump(mode="json")) == request
