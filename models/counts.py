"""How large a network is and how much it multiplies: parameters and multiply-adds of one forward pass.

The pass runs on torch's "meta" device, where tensors have a shape and no values: milliseconds and no memory for any
size. Exact faster forms of a layer count as the layer that they stand for.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.attention import Attention

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Counts:
    """Of a network and an input shape.

    parameters: learned numbers (buffers, such as running statistics, are none).
    multiply_adds: of convolutions and linear layers; norms, activations, pools and sums are not counted.
    attention_multiply_adds: of the two products of each `Attention`, which are not in `multiply_adds`.
    """

    parameters: int
    multiply_adds: int
    attention_multiply_adds: int


def counts(network: nn.Module, shape: tuple[int, ...]) -> Counts:
    """The counts of `network` for clips of `shape`, (B, 3, T, H, W) or whatever it takes. Leaves it untouched.

    Raises what the network raises for an input of a wrong shape.
    """
    skeleton = _on_meta(network)
    found = {"layers": 0, "attention": 0}

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if isinstance(module, Convolution):
            found["layers"] += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            found["layers"] += output.numel() * module.in_features
        elif isinstance(module, Attention):
            queries, _, values = inputs
            found["attention"] += module.multiply_adds(tuple(queries.shape), tuple(values.shape))

    for module in skeleton.modules():
        if isinstance(module, Convolution | nn.Linear | Attention):
            # A hook also makes each layer run as it is written, so that none is passed by.
            module.register_forward_hook(add)
    with torch.no_grad():
        skeleton(torch.empty(shape, device="meta"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Counts(parameters, found["layers"], found["attention"])


def _on_meta(network: nn.Module) -> nn.Module:
    """A copy in eval mode whose tensors have no values; the originals are not copied on the way."""
    replaced: dict[int, Any] = {}
    for parameter in network.parameters():
        replaced[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in network.buffers():
        replaced[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(network, replaced).eval()
