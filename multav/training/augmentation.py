"""Random changes of training clips, alike in all frames of a clip."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from multav.training.request import Augmentation


def augmented(
    clips: Tensor,
    how: Augmentation,
    generator: torch.Generator,
    *,
    places: Sequence[int] | None = None,
    whole: int | None = None,
) -> Tensor:
    """Float clips (B, 3, T, H, W) in [0, 1], each changed by its own draw from `generator` (on the CPU).

    Clips at `places` of a batch of `whole` (else all of one) are changed as in that batch.
    """
    rows = slice(None) if places is None else list(places)
    count = len(clips) if whole is None else whole
    if how.flip:
        mirrored = torch.rand(count, generator=generator)[rows] < how.flip
        clips = torch.where(mirrored.to(clips.device).reshape(-1, 1, 1, 1, 1), clips.flip(4), clips)
    if how.shift:
        drawn = torch.randint(2 * how.shift + 1, (count, 2), generator=generator)[rows]
        clips = _shifted(clips, how.shift, drawn)
    if how.brightness:
        drawn = torch.rand(count, generator=generator)[rows] * 2 - 1
        factors = (1 + how.brightness * drawn).to(clips.device, clips.dtype)
        clips = (clips * factors.reshape(-1, 1, 1, 1, 1)).clamp_(0, 1)
    return clips


def _shifted(clips: Tensor, most: int, places: Tensor) -> Tensor:
    height, width = clips.shape[3:]
    padded = functional.pad(clips, (most, most, most, most, 0, 0), mode="replicate")
    return torch.stack(
        [
            clip[:, :, row : row + height, column : column + width]
            for clip, (row, column) in zip(padded, places.tolist(), strict=True)
        ]
    )
