"""How far two videos of 8-bit pictures lie apart: exact figures accumulated picture by picture.

Pairs of levels (clean, other) are counted in a 256 x 256 table, from which every pixel-wise figure follows
without rounding; SSIM is averaged over pictures.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from multav.counted_pairs import count_pairs
from multav.quantise import LevelBounds

Picture = NDArray[np.uint8]
# One picture in so many is enough for a mean, and SSIM is the costly part.
SSIM_EVERY = 4
_LUMA = (0.299, 0.587, 0.114)


class Comparison:
    """Running comparison of a video with its reference; feed it pairs of (H, W, 3) uint8 pictures in order."""

    def __init__(self) -> None:
        self.pairs: NDArray[np.int64] = np.zeros((256, 256), dtype=np.int64)
        self.pictures = 0
        self.changed_pixels = 0
        self._ssim: list[float] = []

    def add(self, reference: Picture, other: Picture, *, ssim: bool = True) -> None:
        """Count one picture. `ssim=False` skips the structural similarity, the costlier part."""
        self.pictures += 1
        changed = count_pairs(reference, other, self.pairs)
        self.changed_pixels += changed
        if ssim and self.pictures % SSIM_EVERY == 1:
            self._ssim.append(picture_ssim(reference, other) if changed else 1.0)

    @property
    def linf(self) -> float:
        """Largest change, in [0, 1]."""
        clean, other = np.nonzero(self.pairs)
        return float(np.abs(clean - other).max(initial=0)) / 255

    @property
    def l2(self) -> float:
        """Euclidean length of the whole change, values in [0, 1]."""
        return math.sqrt(self._squared_levels()) / 255

    @property
    def ratio_max(self) -> float | None:
        """Largest of other/reference and reference/other; a clean zero counts as ratio 1; None if unbounded."""
        clean, other = (levels.astype(np.float64) for levels in np.nonzero(self.pairs[1:]))
        clean += 1
        if (other == 0).any():
            return None
        return float(np.maximum(other / clean, clean / other).max(initial=1.0))

    @property
    def psnr_db(self) -> float | None:
        """Peak signal-to-noise ratio over all values; None when nothing differs."""
        squared = self._squared_levels()
        return 10 * math.log10(255.0**2 * int(self.pairs.sum()) / squared) if squared else None

    @property
    def ssim(self) -> float:
        """Mean structural similarity of the luma of every fourth picture, 1 when nothing differs."""
        return sum(self._ssim) / len(self._ssim) if self._ssim else 1.0

    def within(self, bounds: LevelBounds) -> bool:
        """Whether every pair keeps `bounds`."""
        return bounds.allows(*np.nonzero(self.pairs))

    def _squared_levels(self) -> int:
        clean, other = np.nonzero(self.pairs)
        return int(((clean - other) ** 2 * self.pairs[clean, other]).sum())


def picture_ssim(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Mean SSIM of the luma over 8x8 blocks every 4 pixels (the grid of FFmpeg's filter), constants of Wang et al."""
    x, y = (
        torch.from_numpy(picture @ np.asarray(_LUMA, dtype=np.float32))[None, None]
        for picture in (reference, other)
    )
    block = min(8, *x.shape[2:])
    stride = max(1, block // 2)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (
        functional.avg_pool2d(plane, block, stride) for plane in (x, y, x * x, y * y, x * y)
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = mean_xy - mean_x * mean_y
    variances = (mean_xx - mean_x**2) + (mean_yy - mean_y**2)
    similarity = (
        (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
    )
    return float(similarity.mean())
