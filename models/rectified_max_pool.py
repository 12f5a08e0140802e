"""ReLU of a 3x3x3 max pool of stride 2, with the places of the largest values, in a tenth of torch's time.

The largest of nine rows first, many columns at once, then of three columns. Among equals the first in memory wins,
and "not a number" beats everything, as in torch.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.parallel import in_parallel
from multav.compiled import compiled


def rectified_max_pool(dense: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (B, C, T, H, W) on the CPU -> relu(max pool), and int32 places in T * H * W counted through.

    The pool is `nn.MaxPool3d(kernel_size=3, stride=2, padding=1)`. Places are those of the pool, whatever ReLU does.
    """
    dense = dense.contiguous()
    size = [-(-length // 2) for length in dense.shape[2:]]
    output = dense.new_empty((*dense.shape[:2], *size))
    places = dense.new_empty(output.shape, dtype=torch.int32)
    channels = dense.shape[1]
    # Enough pieces that no thread waits long for another.
    parts = min(channels, -(-4 * torch.get_num_threads() // len(dense)))
    in_parallel(
        [
            partial(
                _pool,
                dense[sample].numpy(),
                output[sample].numpy(),
                places[sample].numpy(),
                part,
                parts,
            )
            for sample in range(len(dense))
            for part in range(parts)
        ]
    )
    return output, places


@compiled
def _pool(dense: Any, output: Any, places: Any, part: int, parts: int) -> None:
    """(C, T, H, W) -> (C, T / 2, H / 2, W / 2), twice, for every `parts`-th channel from `part`."""
    channels, frames, height, width = dense.shape
    largest = np.empty(width, np.float32)
    found = np.empty(width, np.int32)
    for channel in range(part, channels, parts):
        for frame in range(output.shape[1]):
            for row in range(output.shape[2]):
                first = True
                for t in range(max(0, 2 * frame - 1), min(frames, 2 * frame + 2)):
                    for h in range(max(0, 2 * row - 1), min(height, 2 * row + 2)):
                        start = np.int32((t * height + h) * width)
                        values = dense[channel, t, h]
                        if first:
                            first = False
                            for w in range(width):
                                largest[w] = values[w]
                                found[w] = start
                            continue
                        for w in range(width):
                            value = values[w]
                            wins = (value > largest[w]) | (value != value)
                            largest[w] = value if wins else largest[w]
                            found[w] = start if wins else found[w]
                for column in range(output.shape[3]):
                    w = max(0, 2 * column - 1)
                    best, start, place = largest[w], found[w], found[w] + w
                    for other in range(w + 1, min(width, 2 * column + 2)):
                        value = largest[other]
                        # A tie goes to the earlier row.
                        if value > best or value != value or (value == best and found[other] < start):
                            best, start, place = value, found[other], found[other] + other
                    output[channel, frame, row, column] = best
                    if best <= np.float32(0):
                        output[channel, frame, row, column] = np.float32(0)
                    places[channel, frame, row, column] = place
