"""A twin of a model for gradients alone: the same layers, their weights laid out and rounded once.

Autocast rounds the weights of every layer to halves in every pass, and gives the layers what lies in memory as it
comes. The twin holds the weights of convolutions and linear layers in halves already, those of 3-D convolutions with
the channels last, which is how halves are multiplied fastest. It runs under autocast like the model itself: what is
delicate (batch norm, softmax, losses, a network's own pixels) stays in float32 there.

Nothing else is copied. Buffers and all other parameters are the model's own tensors, so that a twin costs half the
memory of the weights and is made in one pass over them.

What a layer computes from its weights (batch norm folded into a convolution) is `kept` in a twin, whose weights never
change, and starts from the weight as it was (`full_weight`), so that it is rounded once.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor, nn

from multav.free_memory import was_refused
from multav.watched_module import watched

_LAYERS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers that autocast runs in halves, and that use their weight for nothing else."""


Made = TypeVar("Made")


def in_a_twin(layer: nn.Module) -> bool:
    """Whether `layer` belongs to a twin and holds a weight of its own."""
    return "full_weight" in layer.__dict__


def full_weight(layer: nn.Module) -> Tensor:
    """The weight of `layer` that its twin's was made of; outside of a twin its weight."""
    return cast(Tensor, layer.__dict__.get("full_weight", layer.weight))


def kept(layer: nn.Module, what: Hashable, make: Callable[[], Made]) -> Made:
    """What `make` makes: once for a layer of a twin, which keeps it under `what`, every time for any other."""
    if not in_a_twin(layer):
        return make()
    all_kept: dict[Hashable, Any] = layer.__dict__["kept"]
    if what not in all_kept:
        with torch.no_grad():
            all_kept[what] = make()
    return cast(Made, all_kept[what])


@dataclass
class Twin:
    """The twin of a model as it was when this was made; `module` is None where there is none that runs."""

    module: nn.Module | None


@dataclass(frozen=True)
class GradientTwin:
    """`model` and its twin, called as the model is.

    The twin does not follow the model. Where none could be made, or the one made cannot run, the model itself
    answers: one that somebody watches with hooks, that is no ordinary module, or that takes its weights elsewhere than
    into autocast.
    """

    model: nn.Module
    twin: Twin

    def __call__(self, clips: Tensor) -> Tensor:
        """Logits (B, classes) of clips (B, 3, T, H, W)."""
        logits: Tensor
        if self.twin.module is not None:
            try:
                logits = self.twin.module(clips)
                return logits
            except RuntimeError as error:
                if was_refused(error) or _is_recorded(clips):
                    raise
                # Some part wants the weights as they were. If the fault is another, the model has it too.
                self.twin.module = None
        logits = self.model(clips)
        return logits


def _is_recorded(clips: Tensor) -> bool:
    # What cannot be recorded runs all the same.
    return clips.is_cuda and torch.cuda.is_current_stream_capturing()


def twin_of(model: nn.Module, dtype: torch.dtype) -> Twin:
    """The twin of `model` (in eval mode) with weights in `dtype`, if there can be one.

    `dtype` is bfloat16 (or float16), or float32 for the other layout alone.
    """
    modules = list(model.modules())
    if any(watched(module) or isinstance(module, torch.jit.ScriptModule) for module in modules):
        return Twin(None)
    made = _rounded(modules, dtype)
    if not made:
        return Twin(None)
    copies = {module: _shallow_copy(module) for module in modules}
    for module, copy in copies.items():
        for name, part in module._modules.items():
            copy._modules[name] = None if part is None else copies[part]
        for name, parameter in module._parameters.items():
            if parameter in made:
                copy._parameters[name] = made[parameter]
                if name == "weight":
                    copy.__dict__ |= {"full_weight": parameter, "kept": {}}
    return Twin(copies[model])


def _rounded(modules: list[nn.Module], dtype: torch.dtype) -> dict[Tensor, nn.Parameter]:
    """The twin's form of every float32 parameter that belongs to such layers and to nobody else."""
    owners: dict[Tensor, list[nn.Module]] = defaultdict(list)
    for module in modules:
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[parameter].append(module)
    return {
        parameter: nn.Parameter(_laid_out(parameter.detach(), dtype), requires_grad=False)
        for parameter, those in owners.items()
        if parameter.dtype == torch.float32 and all(map(_is_layer, those))
    }


def _is_layer(module: nn.Module) -> bool:
    # Not subclasses: one that looks at its weight itself would look at halves. Those that may say so.
    return type(module) in _LAYERS or bool(getattr(type(module), "takes_halves", False))


def _laid_out(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.ndim == 5:
        return tensor.to(dtype, memory_format=torch.channels_last_3d)
    return tensor.to(dtype)


def _shallow_copy(module: nn.Module) -> nn.Module:
    """The module with the same parts and tensors, in which they can be replaced."""
    copy: nn.Module = module.__new__(type(module))
    copy.__dict__ = module.__dict__ | {
        "_parameters": dict(module._parameters),
        "_buffers": dict(module._buffers),
        "_modules": dict(module._modules),
    }
    return copy
