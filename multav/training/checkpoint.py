"""Checkpoints of a training that is to go on: a safetensors file. Nothing in it is ever executed."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from multav.errors import BadCheckpoint

_KEY: Final = "multav-training"
_FORMAT: Final = 1


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and the rest as JSON."""

    tensors: dict[str, Tensor]
    rest: dict[str, Any]


def write(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file beside `path` and put it in its place at once: nobody ever sees half of it."""
    part = path.with_suffix(".part")
    tensors = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.tensors.items()
    }
    save_file(tensors, str(part), metadata={_KEY: json.dumps({"format": _FORMAT} | checkpoint.rest)})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def read(path: Path) -> Checkpoint:
    """The checkpoint at `path`. Raises `BadCheckpoint`."""
    try:
        with safe_open(str(path), framework="pt") as file:
            rest = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise BadCheckpoint(f"no checkpoint of a training: {error!r}") from error
    if rest.pop("format", None) != _FORMAT:
        raise BadCheckpoint("the checkpoint is of another version of the program: post the training again")
    return Checkpoint(tensors, rest)
