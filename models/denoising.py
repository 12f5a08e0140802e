"""Denoising blocks: each position of the features is mixed with those that resemble it, and the mix is added.

    theta, phi = 1x1x1 convolutions C -> C/2        (or the features themselves: `embed` false)
    out        = x + BN(conv_out(attention(theta(x), phi(x), x)))        then perhaps ReLU

Four forms, one after each stage of a network (`denoise_res2` to `denoise_res5`):

- `official`: Feature Denoising (Xie et al. 2019) as its authors released it, for images: positions of one frame, batch
  norm whose gamma starts at zero, so that the block starts as the identity, no ReLU. On clips, each frame for itself.
- `space_time`: the same over all positions of the clip, which is how the MultAV paper's "3D Denoise" reads.
- `frame_shared`: what the paper's "3D Denoise" has to be for its parameter count: each frame for itself with weights
  shared over time, no batch norm, then ReLU.
- `frame_separate`: the paper's "2D Denoise" by its parameter count: own theta and phi for each place in time, no batch
  norm, no ReLU.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.attention import Attention
from models.denoising_options import DenoisingOptions, options_of, variant
from models.folded_batch_norm import normalised


@dataclass(frozen=True)
class Denoising:
    """A variant with its options, checked."""

    variant: str
    options: DenoisingOptions

    @classmethod
    def checked(cls, denoise: Any, denoise_options: Any) -> "Denoising | None":
        """From a builder's arguments: a name or None, and a mapping of `DenoisingOptions` fields or None."""
        name = variant(denoise)
        options = options_of(name, denoise_options)
        return None if name is None or options is None else cls(name, options)

    def blocks(self, channels: list[int], time_strides: list[int]) -> list["DenoisingBlock"]:
        """One for each stage of so many channels, whose features are `time_strides` frames of the clip apart."""
        lengths = [-(-self.options.frames // stride) for stride in time_strides]
        if self.options.pairs == "all":
            lengths = [lengths[0]] * len(lengths)
        return [DenoisingBlock(width, self, length) for width, length in zip(channels, lengths, strict=True)]


class DenoisingBlock(nn.Module):
    """(B, C, T, H, W) -> the same shape; see the module.

    Keys: `theta.weight`, `phi.weight` (C/2, C, 1, 1, 1), or `theta.0.weight`, ... (C/2, C, 1, 1) for each of `length`
    places in time; `conv_out.weight`; `bn_out.*`.
    """

    def __init__(self, channels: int, denoising: Denoising, length: int) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError("a denoising block halves its channels, and a stage has only one")
        self.options, self.length = denoising.options, length
        self.whole_clip = denoising.variant == "space_time"
        self.separate = denoising.variant == "frame_separate"
        if self.options.embed:
            self.theta = self._embedding(channels)
            self.phi = self._embedding(channels)
        self.attention = Attention(self.options.affinity)
        self.conv_out = nn.Conv3d(channels, channels, 1, bias=False)
        if self.options.norm != "none":
            self.bn_out = nn.BatchNorm3d(channels)
            nn.init.zeros_(self.bn_out.weight)
        if denoising.variant in ("official", "space_time"):
            self._start_as_released()

    def _embedding(self, channels: int) -> nn.Module:
        if self.separate:
            return nn.ModuleList(
                nn.Conv2d(channels, channels // 2, 1, bias=False) for _ in range(self.length)
            )
        return nn.Conv3d(channels, channels // 2, 1, bias=False)

    def _start_as_released(self) -> None:
        """The released weights' start: small embeddings. The others start as torch's layers do."""
        if self.options.embed:
            for weight in (*self.theta.parameters(), *self.phi.parameters()):
                nn.init.normal_(weight, std=0.01)
        nn.init.kaiming_normal_(self.conv_out.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """See the class. Raises `ValueError` for more places in time than there are separate weights."""
        queries, keys = (
            (self._embedded(self.theta, features), self._embedded(self.phi, features))
            if self.options.embed
            else (features, features)
        )
        mixed = self.attention(self._positions(queries), self._positions(keys), self._positions(features))
        # (B, groups, N, C) -> (B, T, H, W, C) -> (B, C, T, H, W)
        batch, channels, *size = features.shape
        mixed = mixed.reshape(batch, *size, channels).permute(0, 4, 1, 2, 3)
        added = self.conv_out(mixed) if self.options.norm != "batch" else self._normalised(mixed)
        out = features + added
        return functional.relu(out, inplace=True) if self.options.relu else out

    def _normalised(self, mixed: Tensor) -> Tensor:
        return normalised(self.conv_out, self.bn_out, mixed)

    def _embedded(self, embedding: nn.Module, features: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C/2, T, H, W)."""
        if not isinstance(embedding, nn.ModuleList):
            embedded: Tensor = embedding(features)
            return embedded
        frames = features.unbind(dim=2)
        if len(frames) > len(embedding):
            raise ValueError(
                f"{len(frames)} places in time, but denoising weights for {len(embedding)}: build the network with "
                "denoise_options frames=(the frames of a clip)"
            )
        return torch.stack(
            [convolution(frame) for frame, convolution in zip(frames, embedding, strict=False)], dim=2
        )

    def _positions(self, features: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, 1, T * H * W, C), or (B, T, H * W, C) where each frame is for itself."""
        last = features.permute(0, 2, 3, 4, 1)
        return last.flatten(1, 3).unsqueeze(1) if self.whole_clip else last.flatten(2, 3)
