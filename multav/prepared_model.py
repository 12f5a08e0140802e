"""Models that promise not to change, and what is kept for their gradients as long as they live."""

import threading
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from multav.captured_gradients import CapturedGradients
from multav.gradient_twin import GradientTwin, Twin, twin_of

Model = TypeVar("Model", bound=nn.Module)


class Preparation:
    """What was made of one prepared model so far. `captured`: None where its passes are not to be recorded."""

    def __init__(self, *, capture: bool) -> None:
        self.captured = CapturedGradients() if capture else None
        self._twins: dict[torch.dtype, Twin] = {}
        self._lock = threading.Lock()

    def twin(self, model: nn.Module, dtype: torch.dtype) -> GradientTwin:
        """The model's twin, made when it is first asked for."""
        with self._lock:
            if dtype not in self._twins:
                self._twins[dtype] = twin_of(model, dtype)
            return GradientTwin(model, self._twins[dtype])

    def nbytes(self, model: nn.Module) -> int:
        """Bytes of the twins' tensors that are not the model's own."""
        own = {tensor.data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
        return sum(
            tensor.nbytes
            for twin in self._twins.values()
            if twin.module is not None
            for tensor in twin.module.parameters()
            if tensor.data_ptr() not in own
        )


# By the model itself, so that what is kept goes with it. A copy of a prepared model has promised nothing.
_PREPARATIONS: "WeakKeyDictionary[nn.Module, Preparation]" = WeakKeyDictionary()


def prepare(model: Model, *, capture: bool = True) -> Model:
    """Promise that `model` will not change any more; gives it back, in eval mode with frozen parameters.

    Attacks then keep between calls what they would make anew of its weights in each: halves for gradients in
    bfloat16, and on a GPU whole recorded passes, so that small batches do not wait for the processor. Nobody may train
    the model, move it, or change its layers from here on.

    With `capture` it also promises to do the same in every call, with the input's values left to tensors: no counters,
    no branches. Where it does more than can be recorded, it runs as it is.
    """
    model.eval().requires_grad_(False)
    _PREPARATIONS[model] = Preparation(capture=capture)
    return model


def kept_bytes(model: nn.Module) -> int:
    """Bytes of what is kept for `model` beside itself (recordings on a GPU not counted)."""
    preparation = _PREPARATIONS.get(model)
    return 0 if preparation is None else preparation.nbytes(model)


@dataclass(frozen=True)
class GradientMeans:
    """What gradients are computed with: `twin` (None: the model itself), and where passes are recorded, if anywhere."""

    twin: GradientTwin | None = None
    captured: CapturedGradients | None = None

    @classmethod
    def of(cls, model: nn.Module, autocast: torch.dtype | None, device: torch.device) -> "GradientMeans":
        """Of `model` as it is now, in eval mode; `autocast` as `gradient_type` says."""
        kept = _PREPARATIONS.get(model)
        on_gpu = device.type == "cuda"
        # On a CPU nothing is gained by it in the model's own precision.
        dtype = autocast or (torch.float32 if on_gpu else None)
        if kept is None:
            return cls(None if dtype is None else GradientTwin(model, twin_of(model, dtype)))
        return cls(None if dtype is None else kept.twin(model, dtype), kept.captured if on_gpu else None)
