"""What the layers of a network answer to clips: its feature maps."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from multav.frozen_model import frozen

_MOST_NAMED = 12


def feature_maps(model: nn.Module, clips: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The outputs (B, channels, T', H', W') of `layers` for `clips` (B, 3, T, H, W), float32 on the CPU, by layer.

    A layer is a submodule by its name in `model.named_modules()`; what the name begins with may be left out where
    it is clear without (`layer2` for `backbone.layer2`). The model runs in eval mode without gradients and is given
    back as it was found. Raises `ValueError` for a layer that is not there, is never called or has no such output.
    """
    found = {layer: _module(model, layer) for layer in layers}
    outputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for layer, module in found.items():
            stack.enter_context(_noted(module, layer, outputs))
        stack.enter_context(frozen(model))
        stack.enter_context(torch.no_grad())
        model(clips)
    missing = [layer for layer in layers if layer not in outputs]
    if missing:
        raise ValueError(f"layer {missing[0]!r} is never called as a module: choose the layer around it")
    return outputs


@contextmanager
def _noted(module: nn.Module, layer: str, outputs: dict[str, Tensor]) -> Iterator[None]:
    """While the block lasts, what `module` answers is put into `outputs`: of several answers the last."""

    def note(_: nn.Module, __: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim != 5:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"layer {layer!r} answers {shape}: feature maps are (B, channels, time, height, width), choose "
                "another layer"
            )
        # Copied: the layer after it may work in the same memory.
        outputs[layer] = output.detach().float().cpu().clone()

    handle = module.register_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()


def _module(model: nn.Module, layer: str) -> nn.Module:
    """The submodule that `layer` names: of those whose names end so, the outermost."""
    modules: dict[str, nn.Module] = {name: module for name, module in model.named_modules() if name}
    depth = min(
        (name.count(".") for name in modules if name == layer or name.endswith(f".{layer}")), default=None
    )
    named = [
        name for name in modules if name.count(".") == depth and (name == layer or name.endswith(f".{layer}"))
    ]
    if len(named) == 1:
        return modules[named[0]]
    if named:
        raise ValueError(f"layer {layer!r} may be {' or '.join(named)}: give the whole name")
    inner = _wrapper(modules)
    names = [name.removeprefix(inner) for name in modules if name.startswith(inner)]
    outermost = [name for name in names if "." not in name][:_MOST_NAMED]
    near = [name for name in get_close_matches(layer, names, n=3, cutoff=0.6) if name not in outermost]
    inside = f" (and inside them, like it, {', '.join(near)})" if near else ""
    raise ValueError(f"the model has no layer {layer!r}; it has: {', '.join(outermost)}{inside}")


def _wrapper(modules: dict[str, nn.Module]) -> str:
    """What the names of all but the modules around the network begin with."""
    prefix = ""
    while True:
        children = [
            name for name in modules if name.startswith(prefix) and "." not in name.removeprefix(prefix)
        ]
        if len(children) != 1 or not any(modules[children[0]].children()):
            return prefix
        prefix = f"{children[0]}."
