"""A network for training passes of several ranks: its gradients and its batch statistics are those of all of them."""

import copy

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from multav.training.shared_batch_norm import SharedBatchNorm


def shared_network(model: nn.Module) -> DistributedDataParallel:
    """A network with the parameters and buffers of `model` itself, which is left as it is: attacks want it plain.

    Gradients come to the parameters as the mean over the ranks, while the rest of the backward pass still runs. All
    ranks get the weights of the first one here.
    """
    tensors = [*model.parameters(), *model.buffers()]
    network = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    device = tensors[0].device
    if device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    else:
        network = _with_shared_batch_norm(network)
    return DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        # They are equal on all ranks: weights and statistics move together.
        forward_sync_buffers=False,
        # Otherwise gradients are laid out anew after the first step, and of more than two ranks then added in another
        # order: a training that goes on would round differently. On GPUs speed counts for more.
        find_unused_parameters=device.type == "cpu",
    )


def _with_shared_batch_norm(module: nn.Module) -> nn.Module:
    if isinstance(module, _BatchNorm):
        return SharedBatchNorm.of(module)
    for name, child in module.named_children():
        setattr(module, name, _with_shared_batch_norm(child))
    return module
