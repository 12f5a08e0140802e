"""A network that is asked in pixels: it holds its own normalisation, input geometry and class names."""

import torch
from torch import Tensor, nn

from multav.geometry import InputGeometry
from multav.model_card import ModelCard


class PixelClassifier(nn.Module):
    """Logits of clips in [0, 1]; attacks and their bounds live there, normalisation happens inside.

    `backbone` maps normalised clips to logits. The normalisation constants are no part of the state dict: they
    belong to the card.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.backbone = backbone
        self.card = card
        shape = (1, 3, 1, 1, 1)
        self.register_buffer("mean", torch.tensor(card.geometry.mean).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(card.geometry.std).reshape(shape), persistent=False)
        self._plain = card.geometry.mean == (0.0, 0.0, 0.0) and card.geometry.std == (1.0, 1.0, 1.0)

    @property
    def geometry(self) -> InputGeometry:
        """What the network expects of its clips."""
        return self.card.geometry

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.card.classes

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) float in [0, 1] -> logits (B, classes)."""
        logits: Tensor = self.backbone(clips if self._plain else (clips - self.mean) / self.std)
        return logits
