"""McNemar's test for clips in groups: the sign of a whole group's difference is the coin that is flipped."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom


def sign_flip_p(differences: NDArray[np.int64]) -> float:
    """The exact two-sided p-value of the sum of `differences` (groups,): first minus second, counted in each group.

    Where nothing differs but by chance, a group's difference is as likely to be d as -d, whatever ties its clips
    together. All 2^groups sign patterns are counted, not drawn: the distribution of the sum is a product of
    (z^d + z^-d) / 2. With groups of one clip this is McNemar's exact test.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if sizes.size == 0:
        return 1.0
    total = int(sizes @ counts)
    # Position `total` is a sum of 0. The most frequent size comes first: its distribution is a binomial as it is.
    order = np.argsort(-counts)
    chances = np.zeros(2 * total + 1)
    first = int(order[0])
    size, count = int(sizes[first]), int(counts[first])
    chances[total - size * count : total + size * count + 1 : 2 * size] = binom.pmf(
        np.arange(count + 1), count, 0.5
    )
    for index in order[1:]:
        size = int(sizes[index])
        for _ in range(int(counts[index])):
            flipped = np.zeros_like(chances)
            flipped[size:] += chances[:-size]
            flipped[:-size] += chances[size:]
            chances = flipped / 2
    observed = abs(int(differences.sum()))
    return float(min(1.0, chances[: total - observed + 1].sum() + chances[total + observed :].sum()))
