"""A classifier from an operator's own code: made by their factory, and known by a digest of its weights.

    def make():                                        # no arguments; seeded, or with weights from a file
        card = {"classes": ["yes", "no"], "geometry": {"frames": 8, "stride": 1, "short_side": 64, ...}}
        return MyNetwork().eval(), card                # clips (B, 3, T, H, W) -> logits (B, classes)

The network of such a pair sees clips normalised by the `mean` and `std` of the geometry, which are 0 and 1 unless
given. A factory may as well return one module that takes pixels in [0, 1] and has `classes` (names) and `geometry` (a
`multav.InputGeometry`), such as a `PixelClassifier`.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from models.pixel_classifier import PixelClassifier
from multav.attacks.catalogue import in_words
from multav.errors import BadOwnModel
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.own_models import OwnModel
from multav.validation import field_errors


def load_own(own: OwnModel) -> PixelClassifier:
    """The classifier that the factory makes, in eval mode with frozen parameters.

    Raises `BadOwnModel`, whatever the factory does.
    """
    module, _, factory = own.path.partition(":")
    try:
        made = attrgetter(factory)(import_module(module))()
    except (Exception, SystemExit) as error:
        # A script ends its process where a module would end.
        raised = f"{type(error).__name__}: {str(error)[:2000]}"
        raise BadOwnModel(f"model {own.name!r}: {own.path} raised {raised}") from error
    network, said = _parts(own, made)
    said |= {
        "name": own.name,
        "architecture": own.path,
        "arguments": {},
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "provenance": said.get("provenance") or f"the operator's own code, {own.path}",
    }
    try:
        card = ModelCard.model_validate(said)
    except ValidationError as error:
        raise BadOwnModel(
            f"model {own.name!r}: the card of {own.path} is not valid: {in_words(field_errors(error))}"
        ) from error
    classifier = PixelClassifier(network, card)
    classifier.requires_grad_(False)
    return classifier.eval()


def identity(own: OwnModel, classifier: PixelClassifier) -> str:
    """A SHA-256 of where the model comes from, its classes, its geometry and every weight.

    Code is no part of it: who changes what a network does and keeps its weights should change the path too.
    """
    digest = hashlib.sha256()
    said = {"path": own.path, **classifier.card.model_dump(mode="json", include={"classes", "geometry"})}
    digest.update(json.dumps(said, sort_keys=True).encode())
    for name, tensor in sorted(classifier.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _parts(own: OwnModel, made: Any) -> tuple[nn.Module, dict[str, Any]]:
    """What the factory returned: a network of normalised clips, and what is said of it."""
    match made:
        case PixelClassifier():
            return made.backbone, made.card.model_dump()
        case (nn.Module() as network, ModelCard() as card):
            return network, card.model_dump()
        case (nn.Module() as network, Mapping() as card):
            return network, dict(card)
        case nn.Module(classes=classes, geometry=InputGeometry() as geometry):
            # It takes pixels as they are: whatever it normalises, it does itself.
            plain = geometry.model_dump(exclude={"mean", "std"})
            return made, {"classes": classes, "geometry": plain}
    raise BadOwnModel(
        f"model {own.name!r}: {own.path} returned {type(made).__name__}; return a pair of an nn.Module and its card "
        "(classes and geometry), or an nn.Module with `classes` (names) and `geometry` (a multav.InputGeometry)"
    )
