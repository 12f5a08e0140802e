"""The head of a 3D ResNet in one piece: convolution, batch norm, max pool, ReLU, and their gradient by the clips."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from models.folded_batch_norm import foldable, folded, normalised
from models.rectified_max_pool import rectified_max_pool
from models.scattered_gradient import MOST_CHANNELS, scattered_gradient
from models.space_to_depth_stem import SpaceToDepthStem
from multav.watched_module import watched


def pooled_stem(
    convolution: SpaceToDepthStem, norm: nn.BatchNorm3d, pool: nn.Module, clips: Tensor
) -> Tensor:
    """`relu(pool(norm(convolution(clips))))`, (B, 3, T, H, W) -> (B, out, T', H', W').

    On the CPU, in eval mode, compiled loops do the pooling, and the gradient by the clips of a frozen network comes
    from the places that the pool kept (`models.scattered_gradient`). Equal to the plain form up to float rounding.
    """
    if _is_usual(pool) and _is_float32_on_cpu(clips, convolution) and foldable(convolution, norm):
        learns = any(
            parameter.requires_grad for part in (convolution, norm) for parameter in part.parameters()
        )
        if not torch.is_grad_enabled() or not (learns or clips.requires_grad):
            return rectified_max_pool(convolution._conv_forward(clips, *folded(convolution, norm)))[0]
        if not learns:
            output: Tensor = _PooledStem.apply(clips, convolution, norm)  # type: ignore[no-untyped-call]
            return output
    # The largest of the rectified is the largest, rectified: the order that rectifies an eighth of the values.
    return functional.relu(pool(normalised(convolution, norm, clips)), inplace=True)


def _is_float32_on_cpu(clips: Tensor, convolution: SpaceToDepthStem) -> bool:
    return (
        clips.device.type == "cpu"
        and clips.dtype == convolution.weight.dtype == torch.float32
        and clips.shape[1] <= MOST_CHANNELS
        and not torch.is_autocast_enabled("cpu")
    )


def _is_usual(pool: nn.Module) -> bool:
    return (
        isinstance(pool, nn.MaxPool3d)
        and not watched(pool)
        and (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
        == (3, 2, 1, 1, False)
    )


class _PooledStem(torch.autograd.Function):
    """See `pooled_stem`."""

    @staticmethod
    def forward(ctx: Any, clips: Tensor, convolution: SpaceToDepthStem, norm: nn.BatchNorm3d) -> Tensor:
        """(B, C, T, H, W) -> (B, out, T', H', W')."""
        weight, bias = folded(convolution, norm)
        output, places = rectified_max_pool(convolution._conv_forward(clips, weight, bias))
        ctx.save_for_backward(output, places, weight)
        ctx.shape, ctx.stride_time = clips.shape, convolution.stride[0]
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient by the clips."""
        output, places, weight = ctx.saved_tensors
        by_clips = scattered_gradient(
            gradient.contiguous(),
            output,
            places,
            weight,
            shape=ctx.shape,
            stride_time=ctx.stride_time,
        )
        return by_clips, None, None
