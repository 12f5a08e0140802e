"""Batch norm over the clips of all ranks, on any device. Torch has one for GPUs alone (`nn.SyncBatchNorm`)."""

from typing import Any, Self

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


class SharedBatchNorm(_BatchNorm):
    """As `nn.BatchNorm3d` of all ranks' clips in one batch, whichever rank has how many of them."""

    @classmethod
    def of(cls, norm: _BatchNorm) -> Self:
        """One with the tensors of `norm` itself."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        return made.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """(B, channels, ...) -> the same shape and type."""
        if not self.training and self.running_mean is not None:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        values = input.float()
        others = [0, *range(2, input.ndim)]
        shape = (1, -1, *[1] * (input.ndim - 2))
        here = values.new_full((1,), values.numel() / values.shape[1])
        sums = _Sum.apply(torch.cat([values.sum(others), here]))  # type: ignore[no-untyped-call]
        # A count has no gradient, though it came along.
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.reshape(shape)
        # Not the mean square less the squared mean: their difference is lost where the mean is large.
        variance = _Sum.apply(centred.square().sum(others)) / count  # type: ignore[no-untyped-call]
        self._remember(mean.detach(), variance.detach(), count)
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scaled = centred * (scale * self.weight).reshape(shape) + self.bias.reshape(shape)
        else:
            scaled = centred * scale.reshape(shape)
        output: Tensor = scaled.to(input.dtype)
        return output

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if not self.training or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / (count - 1)), share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""


class _Sum(torch.autograd.Function):
    """The sum over all ranks. What is done with it is summed over them too, and so is its gradient."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        """Of tensors of one shape."""
        return _summed(own)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """Of the sum of all ranks' losses."""
        return _summed(gradient)


def _summed(tensor: Tensor) -> Tensor:
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total
