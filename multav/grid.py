"""The values that a file can hold, and where the clean ones lie among them.

A code `c` of `bits` bits stands for `c / (2^bits - 1)`. Clean pictures keep the depth that they were read with: a
clean 8-bit level `v` is `v / 255` whatever the file that is written, and every bound is around that value. On 16 bits
it is itself a code (`257 v`); on 10, 12 and 14 bits it is not, and a value that did not move becomes the nearest code,
which is off by less than 0.4 % of the value.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multav.video.picture import Picture

Drawable = NDArray[np.uint8] | NDArray[np.float32]
"""A picture for people: 8-bit levels, or deeper values in [0, 1]."""


@dataclass(frozen=True)
class Grid:
    """Codes of `bits` bits for clean pictures of `clean_bits` bits, which are not more."""

    bits: int = 8
    clean_bits: int = 8

    @property
    def peak(self) -> int:
        """The code of 1.0."""
        return (1 << self.bits) - 1

    @property
    def clean_peak(self) -> int:
        """The clean value of 1.0."""
        return (1 << self.clean_bits) - 1

    @property
    def aligned(self) -> bool:
        """Whether every clean value is a code."""
        return self.peak % self.clean_peak == 0

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        """Of pictures on the grid."""
        return np.uint8 if self.bits == 8 else np.uint16

    @property
    def itself(self) -> "Grid":
        """The grid with its own codes as clean values."""
        return Grid(self.bits, self.bits)

    @cached_property
    def unmoved_codes(self) -> NDArray[np.unsignedinteger[Any]]:
        """For each clean value the nearest code: what a value becomes that nobody moved."""
        clean = np.arange(self.clean_peak + 1, dtype=np.int64)
        return ((2 * clean * self.peak + self.clean_peak) // (2 * self.clean_peak)).astype(self.dtype)

    def unmoved(self, picture: Picture) -> Picture:
        """A clean picture on the grid; itself where it is there already."""
        return picture if self.bits == self.clean_bits else self.unmoved_codes[picture]

    def unmoved_tensor(self, clean: Tensor) -> Tensor:
        """Clean values on the grid, as `levels` gives them."""
        if self.bits == self.clean_bits:
            return clean
        return torch.from_numpy(self.unmoved_codes[clean.cpu().numpy()].astype(np.int32)).to(clean.device)

    def drawable(self, clean: Picture, other: Picture) -> tuple[Drawable, Drawable]:
        """A clean picture and one on the grid as `multav.figures` takes them; what did not move is equal in both."""
        if self.bits == 8:
            return clean.astype(np.uint8, copy=False), other.astype(np.uint8, copy=False)
        scale = np.float32(1 / self.peak)
        return self.unmoved(clean) * scale, other * scale


EIGHT_BITS: Final = Grid()


def levels(pictures: Picture) -> Tensor:
    """Pictures as a tensor of the same shape: uint8 as it is, deeper ones as int32, which torch can work with."""
    return torch.from_numpy(pictures if pictures.dtype == np.uint8 else pictures.astype(np.int32))


def shown(picture: Picture, bits: int) -> NDArray[np.uint8]:
    """A picture for a screen: rounded to 8 bits."""
    if bits == 8:
        return picture.astype(np.uint8, copy=False)
    rounded: NDArray[np.uint8] = np.rint(picture * np.float32(255 / ((1 << bits) - 1))).astype(np.uint8)
    return rounded
