"""Batch norm in eval mode is a scale and a shift per channel: the convolution before it can do both for nothing."""

from math import prod

import torch
from torch import Tensor, nn

from multav.gradient_twin import full_weight, in_a_twin, kept
from multav.watched_module import watched


def normalised(convolution: nn.Conv3d, norm: nn.BatchNorm3d, input: Tensor) -> Tensor:
    """`norm(convolution(input))`; in eval mode by one convolution where that is quicker. Always a fresh tensor.

    Scaling the weights costs a pass over them and saves several over the output, so that it pays where the output
    is the larger of the two; in a gradient twin (`multav.gradient_twin`) it is done once. Equal to the plain form up
    to float rounding, in every gradient too. Where somebody watches one of the modules with a hook, both run as they
    are written.
    """
    outputs = len(input) * convolution.out_channels * prod(input.shape[2:]) // prod(convolution.stride)
    costs = convolution.weight.numel() > outputs and not in_a_twin(convolution)
    if costs or not foldable(convolution, norm):
        return one_after_the_other(convolution, norm, input)
    output: Tensor = convolution._conv_forward(input, *folded(convolution, norm))
    return output


def foldable(convolution: nn.Conv3d, norm: nn.BatchNorm3d) -> bool:
    """Whether one convolution can do the work of both, with nobody watching either."""
    return not (
        norm.training
        or norm.running_mean is None
        or norm.running_var is None
        or convolution.bias is not None
        or watched(convolution)
        or watched(norm)
    )


def folded(convolution: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution, for a `foldable` pair, in the type and layout of its weight."""
    if not in_a_twin(convolution):
        return _product(convolution.weight, norm)

    def rounded() -> tuple[Tensor, Tensor]:
        with torch.autocast(convolution.weight.device.type, enabled=False):
            weight, bias = _product(full_weight(convolution), norm)
        return torch.empty_like(convolution.weight).copy_(weight), bias.to(convolution.weight.dtype)

    return kept(convolution, ("folded", norm), rounded)


def _product(weight: Tensor, norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return weight * scale.reshape(-1, 1, 1, 1, 1), norm.bias - norm.running_mean * scale


def one_after_the_other(convolution: nn.Conv3d, norm: nn.BatchNorm3d, input: Tensor) -> Tensor:
    """`norm(convolution(input))` as it is written."""
    output: Tensor = norm(convolution(input))
    return output
