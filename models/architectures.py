"""Every architecture by name; a checkpoint's card names one and gives its arguments."""

from collections.abc import Callable
from typing import Final

from torch import nn

from models.resnet3d import ResNet3D
from multav.errors import BadCheckpoint
from multav.model_card import ModelCard

ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {"resnet3d": ResNet3D}
"""Builders: called with the number of classes and the card's arguments, they give normalised clips -> logits."""


def build(card: ModelCard) -> nn.Module:
    """The untrained network that `card` describes. Raises `BadCheckpoint` for an unknown name or wrong arguments."""
    if card.architecture not in ARCHITECTURES:
        raise BadCheckpoint(
            f"the architecture {card.architecture!r} is not known; known are: {', '.join(sorted(ARCHITECTURES))}"
        )
    try:
        return ARCHITECTURES[card.architecture](len(card.classes), **card.arguments)
    except (TypeError, ValueError) as error:
        raise BadCheckpoint(f"{card.architecture} cannot be built with {card.arguments}: {error}") from error
