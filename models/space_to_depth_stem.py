"""The stem convolution rewritten exactly: half the time for three input channels, the same state dict.

A 7x7 convolution of stride 2 over 3 channels keeps few multiplications per value loaded. Cutting the picture
into 2x2 blocks (3 -> 12 channels, half the size) and folding the kernel, padded to 8x8, into 4x4 gives the same
sums at stride 1. The parameter stays the original 7x7 kernel; the folding is a view of a few kilobytes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SpaceToDepthStem(nn.Conv3d):
    """A bias-free Conv3d with kernel (k, 7, 7), stride (s, 2, 2), padding (k // 2, 3, 3) over any input size.

    (B, C, T, H, W) float -> (B, out, T', ceil(H / 2), ceil(W / 2)); equal to the plain convolution up to float
    rounding (the order of the sums), in the output and in every gradient.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_time: int, stride_time: int) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size=(kernel_time, 7, 7),
            stride=(stride_time, 2, 2),
            padding=(kernel_time // 2, 3, 3),
            bias=False,
        )

    def forward(self, input: Tensor) -> Tensor:
        """See the class."""
        batch, channels, _, height, width = input.shape
        kernel_time = self.kernel_size[0]
        time = kernel_time // 2
        # One more row and column of zeros at the top left makes the kernel 8 wide; the odd row and column that a
        # picture of odd size lacks in its last 2x2 block is zero padding as well.
        padded = functional.pad(input, (4, 2 + width % 2, 4, 2 + height % 2, time, time))
        frames, rows, columns = padded.shape[2], padded.shape[3] // 2, padded.shape[4] // 2
        # (B, C, T, 2h, 2w) -> (B, C * 2 * 2, T, h, w)
        blocks = padded.reshape(batch, channels, frames, rows, 2, columns, 2).permute(0, 1, 4, 6, 2, 3, 5)
        blocks = blocks.reshape(batch, 4 * channels, frames, rows, columns)
        return functional.conv3d(blocks, self.folded_weight(), stride=(self.stride[0], 1, 1))

    def folded_weight(self) -> Tensor:
        """(out, C, k, 7, 7) -> (out, C * 2 * 2, k, 4, 4)."""
        out, channels, time = self.weight.shape[:3]
        wide = functional.pad(self.weight, (1, 0, 1, 0))
        folded = wide.reshape(out, channels, time, 4, 2, 4, 2).permute(0, 1, 4, 6, 2, 3, 5)
        return folded.reshape(out, 4 * channels, time, 4, 4).contiguous(memory_format=torch.contiguous_format)
