"""What a training descends on."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from multav.losses import divergence
from multav.training.request import TrainingRequest


def training_loss(
    model: nn.Module, clean: Tensor, adversarial: Tensor, labels: Tensor, request: TrainingRequest
) -> tuple[Tensor, Tensor]:
    """Losses (B,) of the clips, with a gradient by the weights, and the logits (B, classes) of the adversarial ones.

    Cross-entropy of the adversarial clips alone (Madry et al.), or with TRADES that of the clean clips and `beta` times
    the Kullback-Leibler divergence of the adversarial answers from the clean ones (Zhang et al., 2019, equation 5).
    """
    logits = model(adversarial).float()
    if request.method != "trades":
        return _cross_entropy(logits, labels, request), logits
    before = model(clean).float()
    apart = divergence(logits, before.log_softmax(1))
    return _cross_entropy(before, labels, request) + request.beta * apart, logits


def loss_of_chance(classes: int, request: TrainingRequest) -> float:
    """About what the loss is of a network that knows nothing of so many classes, and answers each clip differently."""
    return math.log(classes) * (1 + request.beta if request.method == "trades" else 1)


def _cross_entropy(logits: Tensor, labels: Tensor, request: TrainingRequest) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=request.label_smoothing)


def correct(logits: Tensor, labels: Tensor) -> int:
    """How many clips are read right."""
    return int((torch.argmax(logits.detach(), 1) == labels).sum())
