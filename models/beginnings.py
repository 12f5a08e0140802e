"""What a training starts from: random weights, or a registered model's with or without its last layer."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.architectures import ARCHITECTURES, build
from models.pixel_classifier import PixelClassifier
from multav.errors import InvalidSpec
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.training.request import PAPER_GEOMETRY, Start


def beginning(
    start: Start, classes: tuple[str, ...], seed: int, registered: PixelClassifier | None = None
) -> PixelClassifier:
    """A classifier of `classes`, on the CPU, that may be trained: the registered model itself is left alone.

    `registered` is the model that `start` names. Its last layer is kept where the classes are the same (their order may
    differ: the layer follows) unless a new one is asked for, and drawn anew otherwise; all draws depend on `seed`
    alone. Further arguments of `start` may add layers to the network, which start at random; the card's `assumed` names
    them. The card says nothing else of what the weights were before. Raises `InvalidSpec`, `BadCheckpoint`.
    """
    if registered is None:
        return _drawn(start, classes, seed)
    before = registered.card
    if before.architecture not in ARCHITECTURES:
        raise InvalidSpec.at(
            "/start/model", f"{before.name!r} is code of its own, which cannot be trained here"
        )
    same = set(before.classes) == set(classes)
    if start.head == "keep" and not same:
        raise InvalidSpec.at("/start/head", "the dataset knows other classes than the model: take a new head")
    card = _card(
        before.architecture, before.arguments | start.arguments, classes, start.geometry_on(before.geometry)
    )
    made = _drawn_as(card, seed)
    fresh, tensors = made.backbone.state_dict(), dict(registered.backbone.state_dict())
    names = _head_names(made.backbone)
    if same and start.head != "new":
        order = torch.tensor([before.classes.index(name) for name in classes])
        tensors |= {name: tensors[name].cpu()[order] for name in names}
    else:
        tensors |= {name: fresh[name] for name in names}
    _refuse_losses(tensors, fresh)
    made.backbone.load_state_dict(fresh | tensors)
    added = sorted({name.partition(".")[0] for name in fresh.keys() - tensors.keys()})
    if added:
        made.card = card.model_copy(update={"assumed": (f"random before the training: {', '.join(added)}",)})
    return made


def _refuse_losses(tensors: dict[str, Tensor], fresh: dict[str, Tensor]) -> None:
    """Raise where a tensor of the model has no place, or another shape: it would be random without a word."""
    lost = sorted(
        name for name, tensor in tensors.items() if name not in fresh or fresh[name].shape != tensor.shape
    )
    if lost:
        raise InvalidSpec.at(
            "/start/arguments",
            f"with these arguments {len(lost)} tensors of the model have no place, such as {lost[0]}: arguments beside "
            "a model may only add layers",
        )


def _drawn(start: Start, classes: tuple[str, ...], seed: int) -> PixelClassifier:
    if start.architecture is None:
        raise InvalidSpec.at("/start", "names neither a model nor an architecture")
    return _drawn_as(
        _card(start.architecture, start.arguments, classes, start.geometry_on(PAPER_GEOMETRY)), seed
    )


def _drawn_as(card: ModelCard, seed: int) -> PixelClassifier:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return PixelClassifier(build(card), card)


def _card(
    architecture: str, arguments: Mapping[str, object], classes: tuple[str, ...], geometry: InputGeometry
) -> ModelCard:
    return ModelCard(
        name="in-training",
        architecture=architecture,
        arguments=dict(arguments),
        classes=classes,
        geometry=geometry,
    )


def _head_names(network: nn.Module) -> tuple[str, ...]:
    """Names of the tensors of the last layer in the state dict."""
    head = getattr(network, "fc", None)
    if not isinstance(head, nn.Linear):
        raise InvalidSpec.at("/start/model", f"the last layer of a {type(network).__name__} is not known")
    tensors: dict[str, Tensor] = head.state_dict()
    return tuple(f"fc.{name}" for name in tensors)
