"""A 3-D convolution that is quick for a single clip too, and equal to the ordinary one.

On a CPU, torch hands a 3x3x3 convolution of one clip to a path that is up to four times slower than the one for two
clips. Cutting the clip in two along time (or height), each half with the border that its outputs need, makes two
clips of one: the same products, the fast path, and nothing computed twice where the cut is even.

Weights that only meet the border are left out (`models.seen_taps`), on every device.
"""

from typing import ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.seen_taps import seen_taps

# Below so many outputs a channel, reading the weights dominates and both paths take the same time.
_FEWEST_POSITIONS: Final = 64


class HalvedConv3d(nn.Conv3d):
    """`nn.Conv3d` (zero padding, no dilation, one group); (B, C, T, H, W) -> (B, out, T', H', W').

    Output and gradients equal those of `nn.Conv3d` up to float rounding.
    """

    takes_halves: ClassVar[bool] = True

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sizes = [
            (input.shape[axis + 2] + 2 * int(self.padding[axis]) - self.kernel_size[axis])
            // self.stride[axis]
            + 1
            for axis in range(3)
        ]
        if 1 in sizes:
            weight, padding = seen_taps(self, input, weight, sizes)
            return functional.conv3d(input, weight, bias, self.stride, padding)
        if (
            input.shape[0] != 1
            or input.device.type != "cpu"
            or input.dtype != torch.float32
            # Halves have a path of their own.
            or torch.is_autocast_enabled("cpu")
            or sizes[0] * sizes[1] * sizes[2] < _FEWEST_POSITIONS
        ):
            whole: Tensor = super()._conv_forward(input, weight, bias)
            return whole
        return self._in_halves(
            input, weight, bias, axis=0 if sizes[0] > 1 and sizes[0] % 2 == 0 else 1, sizes=sizes
        )

    def _in_halves(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, *, axis: int, sizes: list[int]
    ) -> Tensor:
        """The convolution of both halves of `axis` (0 time, 1 height) as a batch of two."""
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        padding = [int(width) for width in self.padding]
        # `functional.pad` counts from the last axis.
        border = [0, 0, 0, 0, 0, 0]
        border[4 - 2 * axis] = border[5 - 2 * axis] = padding[axis]
        padded = functional.pad(input, border)
        padding[axis] = 0
        # An odd number of outputs is cut with one of them in both halves.
        half = -(-sizes[axis] // 2)
        second = sizes[axis] - half
        length = (half - 1) * stride + kernel
        dimension = axis + 2
        pair = torch.cat([padded.narrow(dimension, start * stride, length) for start in (0, second)])
        made = functional.conv3d(pair, weight, bias, self.stride, tuple(padding))
        return torch.cat([made[:1], made[1:].narrow(dimension, half - second, second)], dim=dimension)
