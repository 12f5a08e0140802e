"""What was found in a file that somebody calls a checkpoint: named tensors, and what it says of itself.

Runs in the bounded child of `check_in`. Tensors may still lie in the mapped file; nothing of them was copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.pickled_checkpoint import read_pickled
from multav.errors import BadCheckpoint
from multav.model_card import METADATA_KEY, ModelCard, card_of

_STATE_DICT_KEYS: Final = ("state_dict", "model_state_dict", "model", "net")
_DATA_PARALLEL: Final = "module."
_FLOATS: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS: Final = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_LONGEST_NAME: Final = 300
_MOST_TENSORS: Final = 20_000
_MOST_NAMED: Final = 5


@dataclass(frozen=True)
class SourceCheckpoint:
    """Named tensors; `beside` are the names of what lay beside them, `arch` the name that the file gives itself."""

    tensors: dict[str, Tensor]
    card: ModelCard | None = None
    arch: str | None = None
    beside: frozenset[str] = frozenset()
    data_parallel: bool = False
    safetensors: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def read_source(path: Path, *, max_values: int) -> SourceCheckpoint:
    """Read the file at `path`, whatever kind of checkpoint it is. Raises `BadCheckpoint`."""
    with path.open("rb") as file:
        start = file.read(16)
    source = _read_safetensors(path) if _looks_like_safetensors(start) else _of_pickled(read_pickled(path))
    _refuse_strange(source.tensors, max_values)
    return source


def _looks_like_safetensors(start: bytes) -> bool:
    """A safetensors file begins with the length of its header (8 bytes) and the header, a JSON object."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**32


def _read_safetensors(path: Path) -> SourceCheckpoint:
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            # A sorted order, so that what is said of a file does not depend on the reader.
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, ValueError, KeyError, OSError, RuntimeError, AttributeError) as error:
        raise BadCheckpoint(f"the safetensors file is damaged: {error}") from error
    card = None
    if METADATA_KEY in metadata:
        with path.open("rb") as data:
            card = card_of(data.read(8 + 2**24))
    return SourceCheckpoint(tensors, card=card, safetensors=True)


def _of_pickled(found: Any) -> SourceCheckpoint:
    """The state dict in what `torch.load` gave: the object itself, or one of its usual entries."""
    if not isinstance(found, Mapping):
        raise BadCheckpoint(
            f"the file holds a {type(found).__name__}, not a state dict: save model.state_dict() with torch.save"
        )
    named = next((key for key in _STATE_DICT_KEYS if isinstance(found.get(key), Mapping)), None)
    state = found if named is None else found[named]
    beside = frozenset() if named is None else frozenset(str(key)[:_LONGEST_NAME] for key in found) - {named}
    wrong = [key for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if wrong or not state:
        what = f"its entry {_short(wrong[0])} is no named tensor" if wrong else "it is empty"
        raise BadCheckpoint(
            f"the file holds no state dict ({what}): save model.state_dict() with torch.save, by itself or "
            "under the key state_dict"
        )
    parallel = all(key.startswith(_DATA_PARALLEL) for key in state)
    tensors = {
        key.removeprefix(_DATA_PARALLEL) if parallel else key: value.detach() for key, value in state.items()
    }
    arch = None if named is None else found.get("arch")
    return SourceCheckpoint(
        tensors,
        arch=arch[:_LONGEST_NAME] if isinstance(arch, str) else None,
        beside=beside,
        data_parallel=parallel,
    )


def _refuse_strange(tensors: dict[str, Tensor], max_values: int) -> None:
    """Refuse what is no weight before anything is computed with it."""
    if len(tensors) > _MOST_TENSORS:
        raise BadCheckpoint(f"the file holds {len(tensors)} tensors; at most {_MOST_TENSORS} are taken")
    faults = [
        f"{_short(name)} is {fault}" for name, tensor in tensors.items() if (fault := _strange(name, tensor))
    ]
    if faults:
        more = f" and {len(faults) - _MOST_NAMED} more" if len(faults) > _MOST_NAMED else ""
        raise BadCheckpoint(
            f"the file holds tensors that are no weights: {'; '.join(faults[:_MOST_NAMED])}{more}"
        )
    _refuse_shared(tensors)
    values = sum(tensor.numel() for tensor in tensors.values())
    if values > max_values:
        raise BadCheckpoint(f"the tensors have {values} values together where {max_values} are allowed")


def _refuse_shared(tensors: dict[str, Tensor]) -> None:
    """Refuse weights that lie in the same memory, as no network of ours has them.

    A damaged file that names one storage twice would load without a word otherwise, half of it wrong.
    """
    spans = sorted(
        (tensor.data_ptr(), tensor.data_ptr() + _extent(tensor) * tensor.element_size(), name)
        for name, tensor in tensors.items()
        if tensor.numel() and tensor.is_floating_point()
    )
    for (_, end, name), (start, _, other) in pairwise(spans):
        if start < end:
            raise BadCheckpoint(
                f"{_short(name)} and {_short(other)} are the same memory in this file: it is damaged, or holds tied "
                "weights, which no network here has"
            )


def _extent(tensor: Tensor) -> int:
    """Values from its first to its last in memory."""
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _strange(name: str, tensor: Tensor) -> str | None:
    if len(name) > _LONGEST_NAME:
        return f"a name of {len(name)} characters"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"{tensor.layout}, not an ordinary dense tensor"
    if tensor.is_quantized:
        return "quantised"
    if tensor.device.type != "cpu":
        return f"without values ({tensor.device})"
    if tensor.dtype not in (*_FLOATS, *_INTEGERS):
        return f"of type {tensor.dtype}"
    if tensor.numel() > _extent(tensor):
        return "a view that repeats its values"
    if tensor.dim() > 5:
        return f"a tensor of {tensor.dim()} dimensions"
    return None


def _short(name: Any) -> str:
    text = repr(name) if isinstance(name, str | int | float) else type(name).__name__
    return text if len(text) <= 100 else f"{text[:100]}..."
