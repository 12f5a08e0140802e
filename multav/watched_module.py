"""Whether somebody listens to a module: what it computes must then happen as it is written."""

from torch import nn


def watched(module: nn.Module) -> bool:
    """Whether a hook listens to the module itself (not to its parts)."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
