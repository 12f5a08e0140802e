"""Random changes of training clips, alike in all frames of a clip."""

import torch
from torch import Tensor
from torch.nn import functional

from multav.training.request import Augmentation


def augmented(clips: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Float clips (B, 3, T, H, W) in [0, 1], each changed by its own draw from `generator` (on the CPU)."""
    if how.flip:
        mirrored = torch.rand(len(clips), generator=generator) < how.flip
        clips = torch.where(mirrored.to(clips.device).reshape(-1, 1, 1, 1, 1), clips.flip(4), clips)
    if how.shift:
        clips = _shifted(clips, how.shift, generator)
    if how.brightness:
        drawn = torch.rand(len(clips), generator=generator) * 2 - 1
        factors = (1 + how.brightness * drawn).to(clips.device, clips.dtype)
        clips = (clips * factors.reshape(-1, 1, 1, 1, 1)).clamp_(0, 1)
    return clips


def _shifted(clips: Tensor, most: int, generator: torch.Generator) -> Tensor:
    height, width = clips.shape[3:]
    padded = functional.pad(clips, (most, most, most, most, 0, 0), mode="replicate")
    places = torch.randint(2 * most + 1, (len(clips), 2), generator=generator).tolist()
    return torch.stack(
        [
            clip[:, :, row : row + height, column : column + width]
            for clip, (row, column) in zip(padded, places, strict=True)
        ]
    )
