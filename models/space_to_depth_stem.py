"""The stem convolution rewritten exactly: the same numbers in half the time, the same state dict.

A 7x7 convolution of stride 2 over 3 channels keeps few multiplications per value loaded. Cutting the picture
into 2x2 blocks (3 -> 12 channels, half the size) and folding the kernel, padded to 8x8, into 4x4 gives the same
sums at stride 1. The parameter stays the original 7x7 kernel; the folding is a view of a few kilobytes.

Matrix units take channels by sixteens, and want many. A processor that multiplies halves gets four channels of zeros
beside the twelve. A GPU gets the four blocks in a row that an output sees as one (48 channels, kernel 4x1): its plain
convolution of three channels is slow, and that of twelve is slower still in float32.

Processors whose vectors hold eight floats (AVX2) multiply channels in eights: twelve fill them badly. There the
plain convolution is the faster one as long as nobody asks for the gradient by the input.
"""

from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from multav.gradient_twin import kept

NARROW_VECTORS: Final = torch.backends.cpu.get_cpu_capability() == "AVX2"
"""Whether this machine's processor is of that kind."""


class SpaceToDepthStem(nn.Conv3d):
    """A bias-free Conv3d with kernel (k, 7, 7), stride (s, 2, 2), padding (k // 2, 3, 3) over any input size.

    (B, C, T, H, W) float -> (B, out, T', ceil(H / 2), ceil(W / 2)); equal to the plain convolution up to float
    rounding (the order of the sums), in the output and in every gradient. `narrow_vectors` picks the faster of
    the two forms on a CPU.
    """

    takes_halves: ClassVar[bool] = True

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
        device = input.device.type
        dtype = input.dtype
        if device in ("cpu", "cuda") and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        if device == "cuda":
            return self._by_sixteens(input, weight, bias, dtype, across=4)
        if dtype in (torch.bfloat16, torch.float16):
            return self._by_sixteens(input, weight, bias, dtype, across=1)
        if self.narrow_vectors and device == "cpu" and not (torch.is_grad_enabled() and input.requires_grad):
            return functional.conv3d(input, weight, bias, self.stride, self.padding)
        time, size = self.kernel_size[0] // 2, input.shape[3:]
        blocks = _to_blocks(functional.pad(input, (*_edges(size), time, time)))
        return functional.conv3d(blocks, _folded(weight), bias, stride=(self.stride[0], 1, 1))

    def _by_sixteens(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, across: int
    ) -> Tensor:
        """In `dtype`, channels last, by `across` blocks of a row at a time."""
        stride, padding = (self.stride[0], 1, 1), (self.kernel_size[0] // 2, 0, 0)
        kernel = kept(self, ("sixteens", id(weight)), lambda: _folded_by_sixteens(weight, across))
        blocks: Tensor = _Sixteens.apply(input, dtype, across)  # type: ignore[no-untyped-call]
        return functional.conv3d(blocks, kernel, bias, stride, padding)


class _Sixteens(torch.autograd.Function):
    """(B, C, T, H, W) -> (B, n, T, h, w), channels last: `across` blocks of a row each, then zeros.

    Clips are rounded to `dtype` on the way. Where each pixel's gradient is a sum of several, they are added in float32.
    """

    @staticmethod
    def forward(ctx: Any, clips: Tensor, dtype: torch.dtype, across: int) -> Tensor:
        """See the class."""
        ctx.size, ctx.across = clips.shape, across
        padded = functional.pad(clips.to(dtype), _edges(clips.shape[3:]))
        batch, channels, frames, height, width = padded.shape
        rows, columns = height // 2, width // 2
        # In the order (B, T, rows, columns, C * 2 * 2).
        blocks = (
            padded.reshape(batch, channels, frames, rows, 2, columns, 2)
            .permute(0, 2, 3, 5, 1, 4, 6)
            .reshape(batch, frames, rows, columns, 4 * channels)
        )
        parts = [blocks.narrow(3, first, columns - across + 1) for first in range(across)]
        lacking = _sixteens(channels, across) - 4 * channels * across
        if lacking:
            parts.append(blocks.new_zeros(()).expand(*parts[0].shape[:4], lacking))
        return torch.cat(parts, dim=4).permute(0, 4, 1, 2, 3)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The gradient (B, C, T, H, W) by the clips."""
        batch, channels, frames, height, width = ctx.size
        # In the order (B, T, rows, columns, n).
        given = gradient.permute(0, 2, 3, 4, 1)
        rows, columns = given.shape[2], given.shape[3] + ctx.across - 1
        if ctx.across == 1:
            blocks = given.narrow(4, 0, 4 * channels)
        else:
            precise = torch.promote_types(gradient.dtype, torch.float32)
            blocks = given.new_zeros(batch, frames, rows, columns, 4 * channels, dtype=precise)
            for first in range(ctx.across):
                part = given.narrow(4, first * 4 * channels, 4 * channels)
                blocks.narrow(3, first, given.shape[3]).add_(part)
        padded = (
            blocks.reshape(batch, frames, rows, columns, channels, 2, 2)
            .permute(0, 4, 1, 2, 5, 3, 6)
            .reshape(batch, channels, frames, 2 * rows, 2 * columns)
        )
        left, _, top, _ = _edges(ctx.size[3:])
        return padded[..., top : top + height, left : left + width], None, None


def _sixteens(channels: int, across: int) -> int:
    """Channels of `across` blocks, rounded up."""
    return -(-4 * channels * across // 16) * 16


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


def _folded_by_sixteens(kernel: Tensor, across: int) -> Tensor:
    """(out, C, k, 7, 7) -> (out, n, k, 4, 4 / across), channels last."""
    out, channels, time = kernel.shape[:3]
    wide = functional.pad(kernel, (1, 0, 1, 0)).reshape(out, channels, time, 4, 2, 4 // across, across, 2)
    # Of the columns, the block comes before the channel.
    folded = wide.permute(0, 2, 3, 5, 6, 1, 4, 7).reshape(out, time, 4, 4 // across, 4 * channels * across)
    lacking = _sixteens(channels, across) - folded.shape[4]
    return functional.pad(folded, (0, lacking)).permute(0, 4, 1, 2, 3)
