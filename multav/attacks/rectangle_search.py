"""The two searches for the place of a rectangle (Wu et al., Defending Against Physically Realizable Attacks).

A place is judged by the loss of the clip with the rectangle there filled with grey; in a clip of one frame both
are the image searches of the paper.
"""

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from multav.attacks.regions import Rectangle
    from multav.objective import Objective

_GREY: Final = 0.5


def everywhere(rectangle: "Rectangle", clips: Tensor, objective: "Objective") -> tuple[Tensor, Tensor]:
    """Top and left corners, int64 (B, T): of all places on the grid the one of the highest loss.

    The same place in all frames of a clip, so that the search stays one of two dimensions.
    """
    batch, _, frames, height, width = clips.shape
    best = clips.new_full((batch,), -torch.inf)
    tops, lefts = (torch.zeros(batch, dtype=torch.int64, device=clips.device) for _ in range(2))
    for top in range(0, height - rectangle.height + 1, rectangle.stride):
        for left in range(0, width - rectangle.width + 1, rectangle.stride):
            covered = clips.clone()
            covered[..., top : top + rectangle.height, left : left + rectangle.width] = _GREY
            losses, _ = objective.score(covered)
            better = losses > best
            best = torch.where(better, losses, best)
            tops[better], lefts[better] = top, left
    return tops[:, None].expand(batch, frames), lefts[:, None].expand(batch, frames)


def by_gradient(rectangle: "Rectangle", clips: Tensor, objective: "Objective") -> tuple[Tensor, Tensor]:
    """Top and left corners, int64 (B, T): candidate i of a clip puts the i-th best place into each frame.

    Places are ranked by the sum of the squared gradient inside, from one gradient at the clean clip.
    """
    batch, _, frames, height, width = clips.shape
    gradient = objective(clips).gradient
    # Divided by the largest value of its clip first: squares of small gradients vanish in float32.
    largest = gradient.abs().flatten(1).amax(1).clamp_min(torch.finfo(gradient.dtype).tiny)
    squares = (gradient / largest.reshape(-1, 1, 1, 1, 1)).square().sum(1).flatten(0, 1)[:, None]
    area = (rectangle.height, rectangle.width)
    sums = functional.avg_pool2d(squares, area, stride=rectangle.stride).reshape(batch, frames, -1)
    across = (width - rectangle.width) // rectangle.stride + 1
    ranked = sums.topk(min(rectangle.candidates, sums.shape[2]), dim=2).indices
    tops, lefts = (ranked // across) * rectangle.stride, (ranked % across) * rectangle.stride
    best = clips.new_full((batch,), -torch.inf)
    chosen = torch.zeros(batch, dtype=torch.int64, device=clips.device)
    for candidate in range(ranked.shape[2]):
        mask = rectangle.at(tops[..., candidate], lefts[..., candidate], height, width)
        losses, _ = objective.score(clips.masked_fill(mask, _GREY))
        better = losses > best
        best = torch.where(better, losses, best)
        chosen[better] = candidate
    picked = chosen[:, None, None].expand(batch, frames, 1)
    return tops.gather(2, picked)[..., 0], lefts.gather(2, picked)[..., 0]
