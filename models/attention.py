"""Every position becomes a weighted mean of the positions of its group, without the matrix of weights in memory.

    softmax:      out_i = sum_j softmax_j(query_i . key_j / sqrt(d)) value_j
    dot product:  out_i = 1/N sum_j (query_i . key_j) value_j

Xie et al., "Feature Denoising for Improving Adversarial Robustness" (2019), section 4.2. For 40 frames the weights of
15,680 positions to each other would be a gigabyte per clip, and several in the backward pass. Fused attention goes
through them in tiles. The dot product needs no weights at all: keys and values are multiplied first.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from models.argument_checks import one_of
from models.denoising_options import AFFINITIES


class Attention(nn.Module):
    """Queries, keys (B, groups, N, d) and values (B, groups, N, C) -> (B, groups, N, C). No parameters.

    N is the same for all three, and d is at most C.
    """

    def __init__(self, affinity: Any) -> None:
        super().__init__()
        self.affinity = one_of("affinity", affinity, AFFINITIES)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """See the class."""
        if self.affinity == "dot_product":
            # (d, N) x (N, C) -> (d, C), then (N, d) x (d, C) -> (N, C)
            return queries @ (keys.transpose(-1, -2) @ values / values.shape[-2])
        size = queries.shape[-1]
        # Without a word, torch makes the whole matrix unless all three are of one size and lie in memory position by
        # position. Zeros change no product.
        missing = (0, values.shape[-1] - size)
        queries, keys = functional.pad(queries, missing), functional.pad(keys, missing)
        return functional.scaled_dot_product_attention(
            queries.contiguous(), keys.contiguous(), values.contiguous(), scale=size**-0.5
        )

    def multiply_adds(self, queries: tuple[int, ...], values: tuple[int, ...]) -> int:
        """Of its two products, for those shapes, without the zeros that fill up queries and keys."""
        batch, groups, positions, size = queries
        channels = values[-1]
        if self.affinity == "dot_product":
            return 2 * batch * groups * positions * size * channels
        return batch * groups * positions * positions * (size + channels)
