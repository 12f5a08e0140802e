"""What a training starts from: random weights that depend on the seed alone, or those of a model that is there."""

from typing import Any

import pytest
import torch
from torch import nn

from models.architectures import ARCHITECTURES, build
from models.beginnings import PAPER_GEOMETRY, beginning
from models.pixel_classifier import PixelClassifier
from multav.errors import BadCheckpoint, InvalidSpec
from multav.geometry import InputGeometry
from multav.given_geometry import GivenGeometry
from multav.model_card import ModelCard
from multav.training.request import Start
from tests.models.small_networks import GEOMETRY, trained

torch.set_num_threads(1)
CLASSES = ("walk", "run", "swim")
TINY: dict[str, Any] = {"architecture": "resnet3d", "arguments": {"depth": 10, "widen_factor": 0.0625}}
CLIPS = torch.rand(3, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
SMALLEST: dict[str, dict[str, Any]] = {
    "resnet3d": {"depth": 10, "widen_factor": 0.0625},
    "wide-resnet3d": {"depth": 50, "k": 1},
    "resnext3d": {"depth": 50},
    "preact-resnet3d": {"depth": 10, "widen_factor": 0.0625},
    "r2plus1d": {"depth": 10, "widen_factor": 0.0625},
}


def registered(**fields: Any) -> PixelClassifier:
    """A model as it stands in the registry: frozen, with running statistics, and with much on its card."""
    card = ModelCard.model_validate(
        {
            "name": "before",
            "classes": CLASSES,
            "geometry": GEOMETRY,
            "licence": "CC0",
            "provenance": "elsewhere",
            "metrics": {"clips": 0.5},
            "version": "7",
            **TINY,
            **fields,
        }
    )
    with torch.random.fork_rng():
        torch.manual_seed(8)
        net = trained(build(card))
    return PixelClassifier(net, card).requires_grad_(False)


def state(classifier: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in classifier.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(tensor.equal(other[name]) for name, tensor in one.items())


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = beginning(Start(**TINY), CLASSES, 5)
    assert torch.get_rng_state().equal(before)
    torch.rand(9)
    assert equal(state(beginning(Start(**TINY), CLASSES, 5)), state(first))
    assert not equal(state(beginning(Start(**TINY), CLASSES, 6)), state(first))
    assert all(parameter.requires_grad for parameter in first.parameters())
    assert first.classes == CLASSES
    assert (
        first.geometry
        == PAPER_GEOMETRY
        == InputGeometry(frames=40, stride=1, short_side=112, height=112, width=112)
    )
    assert (first.card.architecture, first.card.arguments) == ("resnet3d", TINY["arguments"])
    geometry = InputGeometry.model_validate(GEOMETRY)
    assert beginning(Start(**TINY, geometry=GivenGeometry.of(geometry)), CLASSES, 5).geometry == geometry


@pytest.mark.parametrize("head", ["auto", "keep"])
@pytest.mark.parametrize("order", [CLASSES, CLASSES[::-1], ("run", "swim", "walk")])
def test_the_same_classes_in_another_order_keep_their_answers(order: tuple[str, ...], head: Any) -> None:
    before = registered()
    kept = state(before)
    rng = torch.get_rng_state()
    made = beginning(Start(model="before", head=head), order, 5, before)
    assert torch.get_rng_state().equal(rng)
    assert made.classes == order
    with torch.no_grad():
        answers, expected = made.eval()(CLIPS), before(CLIPS)
    for place, name in enumerate(order):
        torch.testing.assert_close(answers[:, place], expected[:, CLASSES.index(name)])
    # By name they say the same; and the logits differ, so that an order that got lost would show.
    assert expected.std(1).min() > 1e-3
    assert equal(state(before), kept)
    assert not any(parameter.requires_grad for parameter in before.parameters())
    assert all(parameter.requires_grad for parameter in made.parameters())
    shared = {tensor.data_ptr() for tensor in before.state_dict().values()}
    assert not shared & {tensor.data_ptr() for tensor in made.state_dict().values()}


@pytest.mark.parametrize(
    ("head", "classes"),
    [("new", CLASSES), ("auto", ("a", "b", "c", "d")), ("auto", CLASSES[:2]), ("new", ("a", "b"))],
)
def test_a_new_head_on_the_old_body(head: Any, classes: tuple[str, ...]) -> None:
    before = registered()
    made = beginning(Start(model="before", head=head), classes, 5, before)
    old, new = state(before.backbone), state(made.backbone)
    for name, tensor in new.items():
        assert name.startswith("fc.") or tensor.equal(old[name]), name
    assert new["fc.weight"].shape[0] == len(classes)
    assert new["fc.weight"].shape != old["fc.weight"].shape or not new["fc.weight"].equal(old["fc.weight"])
    again = beginning(Start(model="before", head=head), classes, 5, registered())
    assert equal(state(again), state(made))
    other = beginning(Start(model="before", head=head), classes, 6, before)
    assert not other.backbone.state_dict()["fc.weight"].equal(new["fc.weight"])


def test_the_card_says_nothing_of_what_the_weights_were() -> None:
    before = registered()
    card = beginning(Start(model="before"), CLASSES, 5, before).card
    assert (card.architecture, card.arguments) == (before.card.architecture, before.card.arguments)
    assert card.geometry == before.card.geometry
    assert (card.licence, card.provenance, card.metrics, card.version) == ("", "", {}, "1")
    longer = before.card.geometry.model_copy(update={"frames": 8})
    start = Start(model="before", geometry=GivenGeometry(frames=8))
    assert beginning(start, CLASSES, 5, before).geometry == longer


def refused(start: Start, classes: tuple[str, ...], model: PixelClassifier | None = None) -> list[str]:
    with pytest.raises(InvalidSpec) as error:
        beginning(start, classes, 0, model)
    return [each["pointer"] for each in error.value.errors]


def test_what_cannot_be_begun_is_refused() -> None:
    assert refused(Start(model="before", head="keep"), ("walk", "run"), registered()) == ["/start/head"]
    assert refused(Start(model="before", head="keep"), ("walk", "run", "fly"), registered()) == [
        "/start/head"
    ]
    own = PixelClassifier(nn.Identity(), registered().card.model_copy(update={"architecture": "own.py:make"}))
    assert refused(Start(model="before"), CLASSES, own) == ["/start/model"]
    assert refused(Start(), CLASSES) == ["/start"]
    with pytest.raises(BadCheckpoint, match="not known"):
        beginning(Start(architecture="resnet4d"), CLASSES, 0)
    with pytest.raises(BadCheckpoint, match="depth"):
        beginning(Start(architecture="resnet3d", arguments={"depth": 11}), CLASSES, 0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_a_head_that_is_known(architecture: str) -> None:
    """On its smallest network, with the old head in another order."""
    arguments = SMALLEST.get(architecture, {})
    before = registered(architecture=architecture, arguments=arguments)
    turned = beginning(Start(model="before"), CLASSES[::-1], 5, before)
    old, new = before.backbone.state_dict(), turned.backbone.state_dict()
    assert new["fc.weight"].equal(old["fc.weight"].flip(0))
    assert new["fc.bias"].equal(old["fc.bias"].flip(0))


def test_arguments_beside_a_model_add_layers_and_say_so() -> None:
    before = registered()
    start = Start.model_validate({"model": "before", "arguments": {"denoise": "official"}})
    made = beginning(start, CLASSES, 1, before)
    kept, now = state(before.backbone), state(made.backbone)
    assert equal(kept, {name: now[name] for name in kept})
    assert made.card.assumed == (
        "random before the training: denoise_res2, denoise_res3, denoise_res4, denoise_res5",
    )
    # Feature denoising starts as the identity, whatever is drawn.
    torch.testing.assert_close(made.eval()(CLIPS), before(CLIPS))


@pytest.mark.parametrize("arguments", [{"depth": 18, "shortcut": "A"}, {"widen_factor": 0.125}])
def test_arguments_that_would_lose_weights_are_refused(arguments: dict[str, Any]) -> None:
    start = Start.model_validate({"model": "before", "arguments": arguments})
    with pytest.raises(InvalidSpec, match="have no place") as refused:
        beginning(start, CLASSES, 1, registered())
    assert refused.value.errors[0]["pointer"] == "/start/arguments"
