"""Every architecture by name; a checkpoint's card names one and gives its arguments."""

import inspect
from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from models.preact_resnet3d import PreActResNet3D
from models.r2plus1d import R2Plus1D
from models.resnet3d import ResNet3D
from models.resnext3d import ResNeXt3D
from models.torchvision_resnets import MC318, R3D18, R2Plus1D18
from models.wide_resnet3d import WideResNet3D
from multav.errors import BadCheckpoint
from multav.model_card import ModelCard

ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {
    "resnet3d": ResNet3D,
    "wide-resnet3d": WideResNet3D,
    "resnext3d": ResNeXt3D,
    "preact-resnet3d": PreActResNet3D,
    "r2plus1d": R2Plus1D,
    "r3d_18": R3D18,
    "mc3_18": MC318,
    "r2plus1d_18": R2Plus1D18,
}
"""Builders: called with the number of classes and the card's arguments, they give normalised clips -> logits."""

MOST_PARAMETERS: Final = 500_000_000
"""That a card may ask for: two gigabytes, four times the largest network of the sources."""


def build(card: ModelCard) -> nn.Module:
    """The untrained network that `card` describes.

    Raises `BadCheckpoint` for an unknown name, wrong arguments, or a network of more than `MOST_PARAMETERS`, which is
    found out before any memory is taken.
    """
    if card.architecture not in ARCHITECTURES:
        raise BadCheckpoint(
            f"the architecture {card.architecture!r} is not known; known are: {', '.join(sorted(ARCHITECTURES))}"
        )
    builder = ARCHITECTURES[card.architecture]
    try:
        with torch.device("meta"):
            skeleton = builder(len(card.classes), **card.arguments)
    except (TypeError, ValueError) as error:
        raise BadCheckpoint(
            f"{card.architecture} cannot be built with {card.arguments!r:.200}: {error} (it takes {_taken(builder)})"
        ) from error
    parameters = sum(parameter.numel() for parameter in skeleton.parameters())
    if parameters > MOST_PARAMETERS:
        raise BadCheckpoint(
            f"{card.architecture} with {card.arguments!r:.200} has {parameters:,} parameters; at most "
            f"{MOST_PARAMETERS:,} are allowed"
        )
    return builder(len(card.classes), **card.arguments)


def _taken(builder: Callable[..., nn.Module]) -> str:
    return ", ".join(list(inspect.signature(builder).parameters)[1:])
