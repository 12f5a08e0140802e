"""A sequence of layers in which each batch norm is done by the convolution before it, where that is quicker."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from models.convolutions import Convolutions
from multav.watched_module import watched


class FoldedSequence(nn.Sequential):
    """`nn.Sequential`, with its keys and its result up to float rounding. Sequences of this kind may hold others."""

    def __init__(self, *layers: nn.Module, convolutions: Convolutions | None = None) -> None:
        super().__init__(*layers)
        # A slice of a sequence is made of its layers alone.
        self.normalised = (convolutions or Convolutions()).normalised

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T, H, W) -> what the layers make of it."""
        layers = list(self._layers())
        while layers:
            layer = layers.pop(0)
            following = layers[0] if layers else None
            if isinstance(layer, nn.Conv3d) and isinstance(following, nn.BatchNorm3d):
                input = self.normalised(layer, following, input)
                layers.pop(0)
            elif isinstance(layer, nn.ReLU) and not watched(layer):
                input = functional.relu(input, inplace=layer.inplace)
            else:
                input = layer(input)
        return input

    def _layers(self) -> Iterator[nn.Module]:
        """One after the other, those of inner sequences too unless somebody watches the sequence itself."""
        for layer in self:
            if isinstance(layer, FoldedSequence) and not watched(layer):
                yield from layer._layers()
            else:
                yield layer
