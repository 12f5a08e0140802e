"""Models from an operator's own code: every form a factory may give, and what is wrong with the others."""

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.own_classifier import identity, load_own
from models.pixel_classifier import PixelClassifier
from multav.errors import BadOwnModel
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.own_models import OwnModel, own_models

torch.set_num_threads(1)
GEOMETRY = InputGeometry(
    frames=4, stride=1, short_side=8, height=8, width=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
CARD = {"classes": ["a", "b"], "geometry": GEOMETRY.model_dump(), "licence": "CC0"}
CLIPS = torch.rand(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


class Means(nn.Module):
    """Two logits of the mean of each channel."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(3, 2, generator=generator))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean(dim=(2, 3, 4)) @ self.weight


class Pixels(Means):
    """The same with what a classifier of pixels says of itself."""

    classes = ("a", "b")
    geometry = GEOMETRY


@pytest.fixture
def own() -> Iterator[Callable[[Callable[[], Any]], OwnModel]]:
    """Declares a factory as a model: `own(factory)`."""
    module = types.ModuleType("an_operators_code")
    sys.modules[module.__name__] = module

    def declare(factory: Callable[[], Any]) -> OwnModel:
        module.make = factory  # type: ignore[attr-defined]
        return OwnModel("mine", "an_operators_code:make")

    yield declare
    del sys.modules[module.__name__]


def test_a_network_and_its_card(own: Any) -> None:
    classifier = load_own(own(lambda: (Means(), CARD)))
    card = classifier.card
    assert (card.name, card.architecture, card.licence) == ("mine", "an_operators_code:make", "CC0")
    assert (card.classes, card.parameters) == (("a", "b"), 6)
    assert "an_operators_code:make" in card.provenance
    # The geometry's normalisation happens before the network.
    torch.testing.assert_close(classifier(CLIPS), Means()((CLIPS - 0.5) / 0.5))
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_a_classifier_of_pixels_normalises_by_itself(own: Any) -> None:
    classifier = load_own(own(Pixels))
    torch.testing.assert_close(classifier(CLIPS), Means()(CLIPS))
    assert (classifier.geometry.frames, classifier.geometry.mean) == (4, (0, 0, 0))
    made = PixelClassifier(Means(), ModelCard(name="x", architecture="y", **CARD))
    again = load_own(own(lambda: made))
    torch.testing.assert_close(again(CLIPS), made(CLIPS))
    assert again.card.name == "mine"


def test_identity_is_weights_place_classes_and_geometry(own: Any) -> None:
    def of(made: Any, path: str | None = None) -> str:
        declared = own(lambda: made)
        return identity(OwnModel("mine", path or declared.path), load_own(declared))

    first = of((Means(), CARD))
    assert of((Means(), CARD)) == first
    others = [
        of((Means(1), CARD)),
        of((Means(), CARD), "elsewhere:make"),
        of((Means(), {**CARD, "classes": ["b", "a"]})),
        of((Means(), {**CARD, "geometry": {**GEOMETRY.model_dump(), "stride": 2}})),
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: None, "returned NoneType"),
        (Means, "returned Means"),
        (lambda: (Means(), {"classes": ["a"]}), "geometry"),
        (lambda: (Means(), {**CARD, "what": 1}), "what"),
        (lambda: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_what_is_no_model_is_told(own: Any, made: Any, words: str) -> None:
    with pytest.raises(BadOwnModel, match=words):
        load_own(own(made))


def test_a_path_that_leads_nowhere() -> None:
    with pytest.raises(BadOwnModel, match="ModuleNotFoundError"):
        load_own(OwnModel("mine", "no_such_package.module:make"))
    with pytest.raises(BadOwnModel, match="AttributeError"):
        load_own(OwnModel("mine", "models.counts:nothing"))


def test_the_setting() -> None:
    found = own_models(" a = pkg.module:make , b-2=m:Class.build,")
    assert found == {"a": OwnModel("a", "pkg.module:make"), "b-2": OwnModel("b-2", "m:Class.build")}
    assert own_models("") == {}
    for wrong in ("a", "a=b", "=m:f", "A=m:f", "a=m:f:g", "a=os.system('x'):f"):
        with pytest.raises(ValueError, match=r"name=package\.module:factory"):
            own_models(wrong)


def test_an_entry_point_declares_a_model(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somebodys_models-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-models\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[multav.models]\ntheirs = somebodys.models:make\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert own_models("")["theirs"] == OwnModel("theirs", "somebodys.models:make")
    # What the operator sets counts before what is installed.
    assert own_models("theirs=mine:make")["theirs"].path == "mine:make"
