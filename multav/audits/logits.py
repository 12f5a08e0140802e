"""What a model says of clips, as every figure of an audit uses it: in its own precision, without a gradient."""

import torch
from torch import Tensor, nn

from multav.clip_loss import ClipLoss
from multav.frozen_model import frozen


def logits_of(model: nn.Module, clips: Tensor) -> Tensor:
    """Logits (B, classes) of `clips` (B, 3, T, H, W) in [0, 1], in the precision of the model's own parameters.

    The model is put in eval mode and given back as it was found; where memory is short, clips go through it in pieces.
    Raises `ValueError` where the answer is not (B, classes).
    """
    dtypes = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    loss = ClipLoss(model, "cross-entropy", dtype=dtypes.pop() if len(dtypes) == 1 else clips.dtype)
    # Every model has a class 0, whose loss is left unused.
    nobody = torch.zeros(len(clips), dtype=torch.int64, device=clips.device)
    with torch.inference_mode(False), frozen(model):
        return loss.score(clips.detach(), nobody)[1]


def mean_softmax(logits: Tensor) -> Tensor:
    """Class probabilities (classes,), float64, of a video whose windows have `logits` (windows, classes)."""
    return logits.double().softmax(1).mean(0)
