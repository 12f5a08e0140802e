"""The stem convolution rewritten exactly: the same numbers in half the time, the same state dict.

A 7x7 convolution of stride 2 over 3 channels keeps few multiplications per value loaded. Cutting the picture
into 2x2 blocks (3 -> 12 channels, half the size) and folding the kernel, padded to 8x8, into 4x4 gives the same
sums at stride 1. The parameter stays the original 7x7 kernel; the folding is a view of a few kilobytes.

Processors whose vectors hold eight floats (AVX2) multiply channels in eights: twelve fill them badly. There the
plain convolution is the faster forward, and the gradient by the input takes two frames at a time (24 channels).
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv3d_input, conv3d_weight

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
            and self.stride[0] == 1
            and input.device.type == "cpu"
            and input.dtype == weight.dtype
            and not torch.is_autocast_enabled("cpu")
        ):
            output: Tensor = _PlainForwardPairedBackward.apply(input, weight, bias)  # type: ignore[no-untyped-call]
            return output
        time, size = self.kernel_size[0] // 2, input.shape[3:]
        blocks = _to_blocks(functional.pad(input, (*_edges(size), time, time)))
        return functional.conv3d(blocks, _folded(weight), bias, stride=(self.stride[0], 1, 1))


class _PlainForwardPairedBackward(torch.autograd.Function):
    """The plain convolution of stride 1 in time; its gradient by the input through blocks of two frames."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(B, C, T, H, W) -> (B, out, T, H', W')."""
        ctx.save_for_backward(input, weight)
        return functional.conv3d(input, weight, bias, stride=(1, 2, 2), padding=_padding(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients by the input, the weight and the bias, as far as they are asked for."""
        (gradient,) = gradients
        input, weight = ctx.saved_tensors
        by_input, by_weight, by_bias = ctx.needs_input_grad
        return (
            _input_gradient(input.shape, weight, gradient) if by_input else None,
            conv3d_weight(input, weight.shape, gradient, (1, 2, 2), _padding(weight)) if by_weight else None,  # type: ignore[no-untyped-call]
            gradient.sum((0, 2, 3, 4)) if by_bias else None,
        )


def _input_gradient(shape: torch.Size, weight: Tensor, gradient: Tensor) -> Tensor:
    """The convolution's gradient by an input of `shape`, given that by its output (B, out, T, H', W')."""
    batch, channels, frames, height, width = shape
    pairs, time = -(-frames // 2), weight.shape[2] // 2
    # (B, out, T, h, w) -> (B, 2 * out, T / 2, h, w): both frames of a pair are outputs of one position.
    even = functional.pad(gradient, (0, 0, 0, 0, 0, frames % 2))
    paired = even.reshape(batch, -1, pairs, 2, *even.shape[3:]).permute(0, 3, 1, 2, 4, 5).flatten(1, 2)
    # The second frame of a pair sees the same kernel one frame later.
    kernel = torch.cat([functional.pad(weight, (0, 0, 0, 0, *late)) for late in ((0, 1), (1, 0))])
    # (2 * out, C * 2 * 2, k + 1, 4, 4) -> (2 * out, 2 * C * 2 * 2, (k + 1) / 2, 4, 4)
    folded = _folded(kernel).reshape(2 * len(weight), 4 * channels, time + 1, 2, 4, 4)
    folded = folded.permute(0, 3, 1, 2, 4, 5).flatten(1, 2).contiguous()
    rows, columns = gradient.shape[3] + 3, gradient.shape[4] + 3
    size = (batch, 2 * 4 * channels, pairs + time, rows, columns)
    blocks: Tensor = conv3d_input(size, folded, paired)  # type: ignore[no-untyped-call]
    # (B, 2 * C * 2 * 2, T / 2, h, w) -> (B, C, T, 2h, 2w), then without what was padding.
    whole = blocks.reshape(batch, 2, channels, 2, 2, *size[2:]).permute(0, 2, 5, 1, 6, 3, 7, 4)
    merged = whole.flatten(6, 7).flatten(4, 5).flatten(2, 3)
    return merged[:, :, time : time + frames, 4 : 4 + height, 4 : 4 + width]


def _padding(weight: Tensor) -> tuple[int, int, int]:
    return weight.shape[2] // 2, 3, 3


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
