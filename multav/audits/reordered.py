"""A model whose classes come in another order than an audit's."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Reordered(nn.Module):
    """`model` with its logits in the order of `classes`, which are its own `of` in another order.

    Raises `ValueError` where they are not the same.
    """

    places: Tensor

    def __init__(self, model: nn.Module, of: Sequence[str], classes: Sequence[str]) -> None:
        super().__init__()
        if sorted(of) != sorted(classes):
            raise ValueError("the classes are not those of the model in another order")
        self.model = model
        places = torch.tensor([list(of).index(name) for name in classes])
        device = next((parameter.device for parameter in model.parameters()), None)
        self.register_buffer("places", places.to(device), persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, classes)."""
        logits: Tensor = self.model(clips)
        return logits.index_select(1, self.places)


def in_order(model: nn.Module, of: Sequence[str], classes: Sequence[str]) -> nn.Module:
    """`model` itself where its classes are in that order already."""
    return model if tuple(of) == tuple(classes) else Reordered(model, of, classes).eval()
