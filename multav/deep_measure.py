"""How far two videos lie apart when pictures have more than 8 bits: the figures of `multav.measure`.

A table of all pairs of values would be too large; kept are the outermost codes of every clean value, from which the
largest change, the largest ratio and the bound follow without rounding, and a float64 sum of squares.
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from multav.grid import Grid
from multav.measure import SSIM_EVERY, Comparison, picture_ssim
from multav.quantise import LevelBounds
from multav.video.picture import Picture


class DeepComparison:
    """Running comparison of pictures on `grid` with the clean ones; feed it pairs of (H, W, 3) pictures in order."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        values = grid.clean_peak + 1
        # Of the codes that moved; a clean value whose lowest is above its highest has none.
        self._lowest = np.full(values, grid.peak, np.uint16)
        self._highest = np.zeros(values, np.uint16)
        self._stayed = np.zeros(values, np.bool_)
        self._squares = 0.0
        self._values = 0
        self.pictures = 0
        self.changed_pixels = 0
        self._ssim: list[float] = []

    def add(self, reference: Picture, other: Picture, *, ssim: bool = True) -> None:
        """Count one picture. `ssim=False` skips the structural similarity."""
        self.pictures += 1
        self._values += reference.size
        grid = self.grid
        moved = other != grid.unmoved(reference)
        self._stayed[reference[~moved]] = True
        clean, codes = reference[moved], other[moved]
        np.minimum.at(self._lowest, clean, codes)
        np.maximum.at(self._highest, clean, codes)
        self.changed_pixels += int(np.count_nonzero(moved[..., 0] | moved[..., 1] | moved[..., 2]))
        away = other / np.float64(grid.peak) - reference / np.float64(grid.clean_peak)
        if grid.aligned:
            away[~moved] = 0  # and not what float64 makes of two ways to write the same value
        self._squares += float(np.vdot(away, away))
        if ssim and self.pictures % SSIM_EVERY == 1:
            self._ssim.append(
                picture_ssim(
                    reference * np.float32(255 / grid.clean_peak), other * np.float32(255 / grid.peak)
                )
            )

    @property
    def linf(self) -> float:
        """Largest change, in [0, 1]."""
        clean, codes = self._outermost()
        away = codes * self.grid.clean_peak - clean * self.grid.peak
        return float(np.abs(away).max(initial=0)) / (self.grid.peak * self.grid.clean_peak)

    @property
    def l2(self) -> float:
        """Euclidean length of the whole change, values in [0, 1]."""
        return math.sqrt(self._squares)

    @property
    def ratio_max(self) -> float | None:
        """Largest of other/reference and reference/other; a clean zero counts as ratio 1; None if unbounded."""
        clean, codes = self._outermost()
        codes = codes[clean > 0] * self.grid.clean_peak
        clean = clean[clean > 0] * self.grid.peak
        if (codes == 0).any():
            return None
        above, below = codes / clean, clean / codes
        largest = Fraction(1)
        # The candidates in float64, the largest itself as a fraction.
        for ratio, over, under in ((above, codes, clean), (below, clean, codes)):
            if ratio.size:
                at = int(ratio.argmax())
                largest = max(largest, Fraction(int(over[at]), int(under[at])))
        return float(largest)

    @property
    def psnr_db(self) -> float | None:
        """Peak signal-to-noise ratio over all values; None when nothing differs."""
        return 10 * math.log10(self._values / self._squares) if self._squares else None

    @property
    def ssim(self) -> float:
        """Mean structural similarity of the luma of every fourth picture, 1 when nothing differs."""
        return sum(self._ssim) / len(self._ssim) if self._ssim else 1.0

    def within(self, bounds: LevelBounds) -> bool:
        """Whether every pair keeps `bounds`, which are of the same grid."""
        # What is allowed around a value is one run of codes, so its outermost ones speak for all.
        return bounds.allows(*self._outermost())

    def _outermost(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Clean values and codes: the lowest and highest that moved, and the unmoved."""
        moved, stayed = np.flatnonzero(self._lowest <= self._highest), np.flatnonzero(self._stayed)
        codes = (self._lowest[moved], self._highest[moved], self.grid.unmoved_codes[stayed])
        return np.concatenate((moved, moved, stayed)), np.concatenate(codes).astype(np.int64)


def comparison(grid: Grid) -> Comparison | DeepComparison:
    """A fresh comparison of pictures on `grid` with the clean ones."""
    return Comparison() if grid.bits == 8 else DeepComparison(grid)
