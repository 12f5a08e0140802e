"""The stem convolution rewritten exactly: the same numbers in half the time, the same state dict.

A 7x7 convolution of stride 2 over 3 channels keeps few multiplications per value loaded. Cutting the picture
into 2x2 blocks (3 -> 12 channels, half the size) and folding the kernel, padded to 8x8, into 4x4 gives the same
sums at stride 1. The parameter stays the original 7x7 kernel; the folding is a view of a few kilobytes.

Processors whose vectors hold eight floats (AVX2) multiply channels in eights: twelve fill them badly. There the
plain convolution is the faster one as long as nobody asks for the gradient by the input.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

NARROW_VECTORS: Final = torch.backends.cpu.get_cpu_capability() == "AVX2"
"""Whether this machine's processor is of that kind."""


class SpaceToDepthStem(nn.Conv3d):
    """A bias-free Conv3d with kernel (k, 7, 7), stride (s, 2, 2), padding (k // 2, 3, 3) over any input size.

    (B, C, T, H, W) float -> (B, out, T', ceil(H / 2), ceil(W / 2)); equal to the plain convolution up to float
    rounding (the order of the sums), in the output and in every gradient. `narrow_vectors` picks the faster of
    the two forms on a CPU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_time: int,
        stride_time: int,
        narrow_vectors: bool = NARROW_VECTORS,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size=(kernel_time, 7, 7),
            stride=(stride_time, 2, 2),
            padding=(kernel_time // 2, 3, 3),
            bias=False,
        )
        self.narrow_vectors = narrow_vectors

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            self.narrow_vectors
            and input.device.type == "cpu"
            and not (torch.is_grad_enabled() and input.requires_grad)
        ):
            return functional.conv3d(input, weight, bias, self.stride, self.padding)
        time, size = self.kernel_size[0] // 2, input.shape[3:]
        blocks = _to_blocks(functional.pad(input, (*_edges(size), time, time)))
        if torch.is_autocast_enabled("cpu"):
            # Halves are multiplied channel by channel; all later layers keep the order that they are given.
            blocks = blocks.contiguous(memory_format=torch.channels_last_3d)
        return functional.conv3d(blocks, _folded(weight), bias, stride=(self.stride[0], 1, 1))


def _edges(size: torch.Size) -> tuple[int, int, int, int]:
    """Zeros left, right, above and below.

    One more row and column at the top left makes the kernel 8 wide; the odd row and column that a picture of odd
    size lacks in its last 2x2 block is zero padding as well.
    """
    height, width = size
    return 4, 2 + width % 2, 4, 2 + height % 2


def _to_blocks(padded: Tensor) -> Tensor:
    """(B, C, T, 2h, 2w) -> (B, C * 2 * 2, T, h, w)."""
    batch, channels, frames, height, width = padded.shape
    rows, columns = height // 2, width // 2
    blocks = padded.reshape(batch, channels, frames, rows, 2, columns, 2).permute(0, 1, 4, 6, 2, 3, 5)
    return blocks.reshape(batch, 4 * channels, frames, rows, columns)


def _folded(kernel: Tensor) -> Tensor:
    """(out, C, k, 7, 7) -> (out, C * 2 * 2, k, 4, 4)."""
    out, channels, time = kernel.shape[:3]
    wide = functional.pad(kernel, (1, 0, 1, 0))
    folded = wide.reshape(out, channels, time, 4, 2, 4, 2).permute(0, 1, 4, 6, 2, 3, 5)
    return folded.reshape(out, 4 * channels, time, 4, 4).contiguous(memory_format=torch.contiguous_format)
