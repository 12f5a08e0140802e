"""What is recognised is said, what is not known is asked for, and what the user says counts first."""

from typing import Any

import pytest
from pydantic import ValidationError

from models.class_list import class_list
from models.published_checkpoints import TRAININGS
from models.recognised import Recognised
from models.settled_card import Findings, settled_card
from models.source_format import SourceFormat, source_format
from multav.errors import BadCheckpoint, InvalidSpec
from multav.model_card import ModelCard
from multav.model_upload import ModelUpload

A = Recognised("hara", "resnet3d", {"depth": 18, "shortcut": "A"}, {"cut_shortcut_gradient": False})
R3D = Recognised("torchvision", "r3d_18", {})
GEOMETRY = {"frames": 8, "stride": 1, "short_side": 64, "height": 56, "width": 48}
PIXELS = {"mean": [0, 0, 0], "std": [1, 1, 1]}
CARD = ModelCard(
    name="carded",
    architecture="resnet3d",
    arguments={"depth": 18, "shortcut": "A"},
    classes=("a", "b"),
    geometry=GEOMETRY,
    licence="MIT",
    version="3",
    metrics={"ucf101": 0.5},
)


def findings(
    form: SourceFormat, classes: int | None, recognised: Recognised | None = A, **more: Any
) -> Findings:
    return Findings("Net (Best).pth", "0" * 64, form, classes, recognised, **more)


def test_hara_2018_kinetics() -> None:
    card = settled_card(ModelUpload(), findings("hara-2018", 400))
    assert card.name == "net-best"
    assert card.classes == class_list("kinetics400")
    assert (card.architecture, card.arguments["shortcut"]) == ("resnet3d", "A")
    shape = card.geometry
    assert (shape.frames, shape.stride, shape.short_side, shape.height, shape.width) == (16, 1, 112, 112, 112)
    # (255 x - mean) / 1 is (x - mean / 255) / (1 / 255)
    assert [round(value * 255, 4) for value in shape.mean] == [114.7748, 107.7354, 99.4750]
    assert [value * 255 for value in shape.std] == [1, 1, 1]
    said = " ".join(card.assumed)
    for words in (
        "read from the tensors: resnet3d",
        "'net-best'",
        "kinetics400",
        "114.7748",
        "16 consecutive frames",
    ):
        assert words in said
    assert "Gradients pass the shortcuts of type A" in said
    assert card.source_format == "hara-2018"
    assert card.source_sha256 == "0" * 64


def test_hara_since_2019_names_no_list_of_700() -> None:
    with pytest.raises(InvalidSpec) as caught:
        settled_card(ModelUpload(), findings("hara", 700))
    assert [each["pointer"] for each in caught.value.errors] == ["/classes"]
    assert "a list of 700 names in the order of the logits" in caught.value.detail
    card = settled_card(ModelUpload.parse({"classes": "numbered"}), findings("hara", 700))
    assert card.geometry.mean == (0.4345, 0.4051, 0.3775)
    assert card.geometry.std == (0.2768, 0.2713, 0.2737)
    assert card.classes[699] == "class 699"


def test_torchvision() -> None:
    card = settled_card(ModelUpload(), findings("torchvision", 400, R3D))
    assert card.architecture == "r3d_18"
    assert card.geometry.mean == (0.43216, 0.394666, 0.37645)
    assert (card.geometry.short_side, card.geometry.height) == (128, 112)


@pytest.mark.parametrize("form", ["hara-2018", "hara", "torchvision"])
def test_the_normalisation_of_somebodys_own_network_is_asked_for(form: SourceFormat) -> None:
    """101 classes are UCF101's, but who trained on them decided about the pixels (the MultAV paper: raw ones)."""
    with pytest.raises(InvalidSpec) as caught:
        settled_card(ModelUpload(), findings(form, 101, R3D if form == "torchvision" else A))
    assert [each["pointer"] for each in caught.value.errors] == ["/geometry/mean", "/geometry/std"]
    assert "raw pixels in [0, 1], as in the MultAV paper" in caught.value.detail
    card = settled_card(
        ModelUpload.parse({"geometry": PIXELS}), findings(form, 101, R3D if form == "torchvision" else A)
    )
    assert card.geometry.std == (1, 1, 1)
    assert card.classes == class_list("ucf101")
    assert any("ucf101" in each for each in card.assumed)
    assert not any("Normalisation" in each for each in card.assumed)


def test_half_a_normalisation_is_not_completed() -> None:
    with pytest.raises(InvalidSpec) as caught:
        settled_card(ModelUpload.parse({"geometry": {"mean": [0, 0, 0]}}), findings("hara-2018", 400))
    assert [each["pointer"] for each in caught.value.errors] == ["/geometry/std"]


def test_a_bare_state_dict_asks_for_everything_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        settled_card(ModelUpload(), findings("state-dict", 37))
    names = ("frames", "stride", "short_side", "height", "width", "mean", "std")
    assert [each["pointer"] for each in caught.value.errors] == [
        "/classes",
        *(f"/geometry/{name}" for name in names),
    ]


def test_what_the_user_says_counts_before_what_is_recognised() -> None:
    upload = ModelUpload.parse(
        {
            "name": "mine",
            "arguments": {"cut_shortcut_gradient": True},
            "classes": "numbered",
            "geometry": {"frames": 40, "height": 96, "width": 96, **PIXELS},
        }
    )
    card = settled_card(upload, findings("hara-2018", 400))
    assert card.name == "mine"
    assert card.arguments == {"depth": 18, "shortcut": "A", "cut_shortcut_gradient": True}
    assert card.classes[0] == "class 0"
    assert (card.geometry.frames, card.geometry.height, card.geometry.short_side) == (40, 96, 96)
    said = " ".join(card.assumed)
    assert "frames" not in said.split("2018 training")[1].split(":")[1]
    assert "Gradients pass" not in said


def test_the_users_word_counts_before_the_card() -> None:
    same = settled_card(ModelUpload(), findings("multav", 2, None, card=CARD))
    stated = ("Its accuracies are those that the file's card states: not measured here.",)
    assert same == CARD.model_copy(
        update={"source_sha256": "0" * 64, "source_format": "multav", "assumed": stated}
    )
    upload = ModelUpload.parse(
        {"name": "other", "geometry": {"frames": 4}, "licence": "BSD", "classes": ["x", "y"]}
    )
    card = settled_card(upload, findings("multav", 2, None, card=CARD))
    assert (card.name, card.licence, card.version, card.classes) == ("other", "BSD", "3", ("x", "y"))
    assert (card.geometry.frames, card.geometry.height) == (4, 56)
    assert card.metrics == {"ucf101": 0.5}
    assert (
        settled_card(ModelUpload.parse({"version": "1"}), findings("multav", 2, None, card=CARD)).version
        == "1"
    )


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["a", "b", "c"], "the network has 2 logits, but 3 classes are named: name 2"),
        ("ucf101", "the network has 2 logits, but 101 classes are named"),
    ],
)
def test_a_wrong_number_of_classes(classes: Any, words: str) -> None:
    for each in (findings("multav", 2, None, card=CARD), findings("hara-2018", 2)):
        with pytest.raises(InvalidSpec) as caught:
            settled_card(ModelUpload.parse({"classes": classes, "geometry": PIXELS}), each)
        assert words in {error["pointer"]: error["detail"] for error in caught.value.errors}["/classes"]


def test_another_architecture_than_the_tensors_show() -> None:
    with pytest.raises(BadCheckpoint, match=r"those of resnet3d \(depth=18, shortcut='A'\), not of 'r3d_18'"):
        settled_card(ModelUpload.parse({"architecture": "r3d_18"}), findings("hara-2018", 400))


def test_an_unknown_network() -> None:
    with pytest.raises(BadCheckpoint, match="no architecture that is recognised"):
        settled_card(ModelUpload(), findings("state-dict", None, None))
    upload = ModelUpload.parse(
        {"architecture": "special", "classes": ["a", "b"], "geometry": GEOMETRY | PIXELS, "name": "x"}
    )
    assert settled_card(upload, findings("state-dict", None, None)).architecture == "special"


def test_a_crop_that_does_not_fit_is_pointed_at() -> None:
    with pytest.raises(InvalidSpec) as caught:
        settled_card(ModelUpload.parse({"geometry": {"short_side": 64}}), findings("hara-2018", 400))
    assert caught.value.errors[0]["pointer"] == "/geometry"
    assert "make short_side at least 112" in caught.value.detail


def test_undecided_arguments_are_asked_for() -> None:
    found = Recognised("hara", "resnet3d", {"depth": 18}, {}, {"denoise": "give arguments.denoise"})
    with pytest.raises(InvalidSpec) as caught:
        settled_card(ModelUpload(), findings("hara-2018", 400, found))
    assert [each["pointer"] for each in caught.value.errors] == ["/arguments/denoise"]
    upload = ModelUpload.parse({"arguments": {"denoise": "official"}})
    assert settled_card(upload, findings("hara-2018", 400, found)).arguments["denoise"] == "official"


def test_a_file_without_a_name() -> None:
    with pytest.raises(InvalidSpec) as caught:
        settled_card(ModelUpload(), Findings("---.pth", "0" * 64, "hara-2018", 400, A))
    assert [each["pointer"] for each in caught.value.errors] == ["/name"]


@pytest.mark.parametrize(
    ("recognised", "facts", "form"),
    [
        (A, {"data_parallel": True, "beside": frozenset({"arch", "optimizer"})}, "hara-2018"),
        (A, {"beside": frozenset({"arch", "optimizer", "scheduler"})}, "hara"),
        (A, {"beside": frozenset({"arch", "optimizer"})}, "hara-2018"),
        (A, {"data_parallel": True}, "hara-2018"),
        (A, {"data_parallel": True, "beside": frozenset({"arch", "scheduler"})}, "hara"),
        (A, {}, "state-dict"),
        (A, {"safetensors": True}, "safetensors"),
        (R3D, {}, "torchvision"),
        (R3D, {"safetensors": True}, "torchvision"),
        (None, {}, "state-dict"),
        (None, {"card": True, "safetensors": True}, "multav"),
    ],
)
def test_formats(recognised: Recognised | None, facts: dict[str, Any], form: SourceFormat) -> None:
    usual: dict[str, Any] = {
        "card": False,
        "safetensors": False,
        "data_parallel": False,
        "beside": frozenset(),
    }
    assert source_format(recognised, **(usual | facts)) == form


def test_published_files_are_of_networks_that_exist() -> None:
    from models.architectures import ARCHITECTURES

    for training in TRAININGS.values():
        assert {architecture for architecture, _, _ in training.published} <= set(ARCHITECTURES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "2/x"},
        {"version": "2\0"},
        {"version": "é"},
        {"version": ""},
        {"classes": ("a", "a")},
        {"classes": ("a", "")},
        {"classes": ("a", "b" * 201)},
    ],
)
def test_a_card_says_nothing_that_a_user_may_not_say(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ModelCard.model_validate(CARD.model_dump() | wrong)
    with pytest.raises(InvalidSpec):
        ModelUpload.parse(wrong | {name: list(value) for name, value in wrong.items() if name == "classes"})
