"""A running average of a model's weights, which often is the better model."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Average:
    """Of all floating tensors of a model's state; counters are those of now.

    Each update keeps a share `keeps`, and less of it at first: update number n (from 0) keeps (1 + n) / (10 + n) at
    most, so that the weights of the start, which nobody has trained, are soon forgotten.
    """

    def __init__(self, model: nn.Module, keeps: float) -> None:
        self._keeps = keeps
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, number: int) -> None:
        """Move toward the weights of now; `number` of the updates came before."""
        keeps = min(self._keeps, (1 + number) / (10 + number))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - keeps)
            else:
                self.tensors[name].copy_(tensor)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with an average that was kept."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
