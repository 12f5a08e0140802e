"""A safetensors file written clip by clip, so that it need not fit into memory."""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor


class TensorFile:
    """Writes float32 tensors of one shape, stacked along a new first axis, under one name."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], metadata: dict[str, str]) -> None:
        size = 4
        for extent in shape:
            size *= extent
        header = {
            "__metadata__": metadata,
            name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]},
        }
        encoded = json.dumps(header).encode()
        encoded += b" " * (-len(encoded) % 8)
        self.path = path
        self._expected = 8 + len(encoded) + size
        self._file = path.open("wb")
        self._file.write(len(encoded).to_bytes(8, "little") + encoded)

    def append(self, tensor: Tensor) -> None:
        """Write the next tensor of shape `shape[1:]`."""
        self._file.write(tensor.to(dtype=torch.float32).contiguous().numpy().tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        written = self._file.tell()
        self._file.close()
        if kind is None and written != self._expected:
            raise RuntimeError(
                f"{self.path.name} holds {written} bytes where its header says {self._expected}"
            )
