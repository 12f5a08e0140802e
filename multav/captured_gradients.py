"""Passes of a fixed model that a GPU has learnt by heart: recorded once, played again without Python in between.

A small batch on a large GPU waits for the processor, which launches some hundred kernels a pass. A CUDA graph launches
them together. It plays the same kernels on the same memory, so that a recording is good for one shape of clips, and
for a model whose weights stay where they are and which does the same in every call.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

Pass = Callable[..., tuple[Tensor, ...]]
"""Tensors -> tensors, on one GPU."""

_MOST: Final = 64
_SEEN_BEFORE: Final = 1
_WARM_UP: Final = 2
# Values of the first input (sixteen clips of 16x112x112) beyond which a pass keeps a GPU busy by itself.
_LARGEST: Final = 10_000_000


@dataclass
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class CapturedGradients:
    """Recordings of passes, the most recently used ones kept; all of one stream of one GPU.

    A pass of few clips is recorded when it is asked for the second time. Recordings share the memory that they work in,
    and give copies of their results. An attack with early stop has ever fewer samples: their number is rounded up to
    one of few, as what a pass says of a sample depends on it alone, and outputs have a row for each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[Hashable, int] = OrderedDict()
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._stream: torch.cuda.Stream | None = None
        self._able = True

    def __len__(self) -> int:
        return len(self._recordings)

    def outputs(
        self, key: Hashable, run: Pass, inputs: tuple[Tensor, ...], fits: Callable[[tuple[Tensor, ...]], bool]
    ) -> tuple[Tensor, ...] | None:
        """What `run` gives for `inputs`; None where it is to be run as it is.

        `key`, the shapes and the types of the inputs say which pass it is. `fits` sees the last outputs of the
        recording (whose values are nothing to go by) and says whether it is good for these inputs.
        """
        samples = len(inputs[0])
        size = _rounded_up(samples)
        if inputs[0][:1].numel() * size > _LARGEST:
            return None
        shapes = ((tensor.shape[1:], tensor.dtype, tensor.device) for tensor in inputs)
        key = (key, _settings(), size, *shapes)
        with self._lock:
            recording = self._recording(key, run, inputs, size)
            if recording is None or not fits(recording.outputs):
                return None
            for held, tensor in zip(recording.inputs, inputs, strict=True):
                held[:samples].copy_(tensor)
                # Whatever is left there of others is of the right kind, and nobody looks at what becomes of it.
            recording.graph.replay()
            return tuple(tensor[:samples].clone() for tensor in recording.outputs)

    def forget(self) -> bool:
        """Let go of all recordings and their memory, and make no more; whether there were any."""
        with self._lock:
            self._able = False
            there_were = bool(self._recordings)
            self._recordings.clear()
            return there_were

    def _recording(
        self, key: Hashable, run: Pass, inputs: tuple[Tensor, ...], size: int
    ) -> _Recording | None:
        stream = torch.cuda.current_stream(inputs[0].device)
        if not self._able or (self._stream is not None and stream != self._stream):
            return None
        if key in self._recordings:
            self._recordings.move_to_end(key)
            return self._recordings[key]
        if self._times_seen(key) < _SEEN_BEFORE:
            return None
        while len(self._recordings) >= _MOST:
            self._recordings.popitem(last=False)
        try:
            made = self._record(run, tuple(_filled_up(tensor, size) for tensor in inputs))
        except RuntimeError:
            # The model waits for the processor or does what else cannot be recorded, or there is no room: from here on
            # it runs as it is, and if the fault is another, meets it there.
            self._able = False
            self._recordings.clear()
            return None
        self._stream = stream
        self._recordings[key] = made
        return made

    def _times_seen(self, key: Hashable) -> int:
        """How often this pass was asked for before; few are remembered."""
        times = self._seen.pop(key, 0)
        self._seen[key] = times + 1
        while len(self._seen) > 4 * _MOST:
            self._seen.popitem(last=False)
        return times

    def _record(self, run: Pass, inputs: tuple[Tensor, ...]) -> _Recording:
        with torch.cuda.device(inputs[0].device):
            held = tuple(tensor.clone() for tensor in inputs)
            # Once before, as libraries choose their kernels in the first passes; on a stream of its own, as asked for.
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UP):
                    run(*held)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on with their GPU work meanwhile.
            with torch.cuda.graph(graph, pool=self._pool(), capture_error_mode="thread_local"):
                outputs = run(*held)
        return _Recording(graph, held, outputs)

    def _pool(self) -> Any:
        """The memory that recordings work in; its results are copied before another one plays."""
        for recording in self._recordings.values():
            return recording.graph.pool()
        return None


def _rounded_up(samples: int) -> int:
    """The next of 1, 2, ... 8, 10, 12, 14, 16, 20, 24, 28, 32, 40 ...: at most a quarter more."""
    step = max(1, (1 << (samples - 1).bit_length()) // 8)
    return -(-samples // step) * step


def _filled_up(tensor: Tensor, size: int) -> Tensor:
    """The samples of `tensor`, and the last one again until there are `size`."""
    return torch.cat([tensor, tensor[-1:].expand(size - len(tensor), *tensor.shape[1:])])


def _settings() -> tuple[bool, ...]:
    """What a user may have asked of torch's kernels since."""
    return (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
    )
