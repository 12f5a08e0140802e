"""The least that an attack of T steps must do: T forwards, each with the gradient by the input."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def bare_passes(network: nn.Module, clips: Tensor, labels: Tensor, steps: int) -> None:
    """`steps` forwards with the gradient by the input, and nothing else; parameters take no gradient."""
    network.requires_grad_(False)
    for _ in range(steps):
        leaf = clips.clone().requires_grad_()
        loss = functional.cross_entropy(network(leaf), labels, reduction="sum")
        torch.autograd.grad(loss, leaf)
