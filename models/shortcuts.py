"""What a residual block adds to its result when its size changes: Hara's shortcuts A and B.

The original code reads shortcut A through `.data`, so no gradient passes there; here it passes, unless the block is
told to cut it.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.architecture_arguments import shortcut_kind
from models.argument_checks import flag


@dataclass(frozen=True)
class Shortcuts:
    """How a network's shortcuts change size.

    `kind` "A" subsamples and pads channels with zeros, and has no parameters; "B" is a 1x1x1 convolution with batch
    norm. `cut_gradient` lets no gradient through type A.
    """

    kind: Literal["A", "B"]
    cut_gradient: bool = False

    @classmethod
    def checked(cls, shortcut: Any, cut_shortcut_gradient: Any) -> "Shortcuts":
        """From a builder's arguments."""
        return cls(shortcut_kind(shortcut), flag("cut_shortcut_gradient", cut_shortcut_gradient))

    def make(self, channels: int, width: int, stride: int) -> nn.Module | None:
        """The shortcut from `channels` to `width`; None where the features fit as they are."""
        if stride == 1 and channels == width:
            return None
        if self.kind == "A":
            return ZeroPadShortcut(width, stride, self.cut_gradient)
        return projection(channels, width, (stride, stride, stride))


def projection(channels: int, width: int, stride: tuple[int, int, int]) -> nn.Sequential:
    """A 1x1x1 convolution and batch norm, keys `0.*` and `1.*`."""
    return nn.Sequential(
        nn.Conv3d(channels, width, 1, stride=stride, bias=False),
        nn.BatchNorm3d(width),
    )


class ZeroPadShortcut(nn.Module):
    """Shortcut A: every `stride`-th value, new channels zero; no parameters."""

    def __init__(self, width: int, stride: int, cut_gradient: bool) -> None:
        super().__init__()
        self.width, self.stride, self.cut_gradient = width, stride, cut_gradient

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, width, T / stride, H / stride, W / stride)."""
        step = self.stride
        kept = features[:, :, ::step, ::step, ::step]
        if self.cut_gradient:
            kept = kept.detach()
        missing = self.width - kept.shape[1]
        return torch.cat([kept, kept.new_zeros(kept.shape[0], missing, *kept.shape[2:])], dim=1)
