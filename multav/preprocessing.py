"""From source frames to what a model sees, as one linear map per picture, and back for gradients.

Resizing (bilinear, antialiased, as Pillow and `torch.nn.functional.interpolate(antialias=True)` do it) and
centre cropping act on rows and columns separately, so a picture becomes `rows @ picture @ columns.T`. The
gradient with respect to the source is `rows.T @ gradient @ columns`: exact, and cheaper than autograd through
the resize because nothing of the source's size is kept. Only the part of the source that reaches the crop
(`window`) takes part.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from multav.geometry import InputGeometry

# Rows at a time, and how many times the model's rows the source must have for that to pay: about twice as fast
# at 720p.
_OUTPUTS: Final = 4
_SOURCES: Final = 64
_LEAST_SHRINKING: Final = 3


@dataclass(frozen=True)
class Preprocessing:
    """The map from the seen part of a source picture to a model's input picture.

    `rows` (height, seen rows) and `columns` (width, seen columns) are float32; `top`, `left` say where the
    seen part lies in the source. `identity` is set when the source already has the model's size.
    """

    rows: Tensor
    columns: Tensor
    top: int
    left: int

    @property
    def identity(self) -> bool:
        """Whether pictures pass unchanged."""
        return _is_identity(self.rows) and _is_identity(self.columns)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the source that the model sees."""
        return (
            slice(self.top, self.top + self.rows.shape[1]),
            slice(self.left, self.left + self.columns.shape[1]),
        )

    def apply(self, pictures: Tensor) -> Tensor:
        """Resize and crop. (..., seen rows, seen columns) float in [0, 1] -> (..., height, width)."""
        if self.identity:
            return pictures
        # (h, H) x (..., H, W) x (W, w): the larger saving comes first, rows and columns shrink alike.
        if len(self._bands) == 1:
            return (self.rows @ pictures) @ self.columns.T
        shrunk = [self.rows[outputs, used] @ pictures[..., used, :] for outputs, used in self._bands]
        return torch.cat(shrunk, -2) @ self.columns.T

    def adjoint(self, gradient: Tensor, out: Tensor | None = None) -> Tensor:
        """Gradient by the source. (..., height, width) -> (..., seen rows, seen columns).

        Written into `out` when given (a fresh tensor of the source's size costs twice the product itself).
        """
        if self.identity:
            return gradient.clone() if out is None else out.copy_(gradient)
        wide = gradient @ self.columns
        if len(self._bands) == 1:
            return torch.matmul(self.rows.T, wide, out=out)
        if out is None:
            out = wide.new_empty((*wide.shape[:-2], self.rows.shape[1], wide.shape[-1]))
        # (pictures, h, W) -> (pictures, H, W)
        wide, whole = wide.flatten(0, -3), out.view(-1, *out.shape[-2:])
        for outputs, used in self._bands_of_sources:
            weights = self.rows[outputs, used].T.expand(len(wide), -1, -1)
            torch.bmm(weights, wide[:, outputs], out=whole[:, used])
        return out

    @cached_property
    def _bands(self) -> tuple[tuple[slice, slice], ...]:
        """Every few output rows, and the source rows that they use: the rest of their weights are zeros."""
        if not self._pays_in_bands:
            return ((slice(None), slice(None)),)
        outputs = [slice(first, first + _OUTPUTS) for first in range(0, len(self.rows), _OUTPUTS)]
        return tuple((block, _span(self.rows[block].sum(0))) for block in outputs)

    @cached_property
    def _bands_of_sources(self) -> tuple[tuple[slice, slice], ...]:
        """Every few source rows, and the output rows that use them, the latter first."""
        sources = [slice(first, first + _SOURCES) for first in range(0, self.rows.shape[1], _SOURCES)]
        return tuple((_span(self.rows[:, block].sum(1)), block) for block in sources)

    @property
    def _pays_in_bands(self) -> bool:
        # An accelerator wants few large products.
        return self.rows.device.type == "cpu" and self.rows.shape[1] >= _LEAST_SHRINKING * len(self.rows)


def preprocessing(
    geometry: InputGeometry, height: int, width: int, device: torch.device | str = "cpu"
) -> Preprocessing:
    """The map that `geometry` prescribes for source pictures of `height` x `width`.

    The long side after the resize is truncated and the crop offset rounded half to even, as torchvision and
    the authors' loaders do (320x240 at short side 112 gives 149x112, crop from column 18).
    """
    short = min(height, width)
    tall = geometry.short_side if height == short else geometry.short_side * height // short
    wide = geometry.short_side if width == short else geometry.short_side * width // short
    rows, top = _resize_rows(height, tall, geometry.height)
    columns, left = _resize_rows(width, wide, geometry.width)
    return Preprocessing(rows.to(device), columns.to(device), top, left)


def no_preprocessing(height: int, width: int, device: torch.device | str = "cpu") -> Preprocessing:
    """The map that leaves pictures of `height` x `width` as they are."""
    return Preprocessing(torch.eye(height, device=device), torch.eye(width, device=device), 0, 0)


def _resize_rows(source: int, target: int, crop: int) -> tuple[Tensor, int]:
    """The centre `crop` rows of the antialiased bilinear resize of one axis, on the values that they use.

    Returns float32 weights (crop, used) and the first used value. Each output is the mean of the values around its
    centre under a triangle, which is two values wide, or two outputs where the axis shrinks; in float32 throughout, as
    torch does it, so that both agree to rounding. Only what is used is ever
    made: an axis may be long, and the whole matrix would be its square.
    """
    offset = round((target - crop) / 2)
    scale = source / target
    reach = max(scale, 1.0)
    centres = (torch.arange(offset, offset + crop, dtype=torch.float32) + 0.5) * scale
    first, last = max(0, int(centres[0] - reach - 1)), min(source, int(centres[-1] + reach + 2))
    places = torch.arange(first, last, dtype=torch.float32) + 0.5
    weights = (1 - (places - centres[:, None]).abs() / reach).clamp_min(0)
    weights /= weights.sum(1, keepdim=True)
    used = torch.nonzero(weights.sum(0)).flatten()
    start, stop = int(used[0]), int(used[-1]) + 1
    return weights[:, start:stop].contiguous(), first + start


def _span(weights: Tensor) -> slice:
    """From the first to the last that is not zero."""
    used = torch.nonzero(weights).flatten()
    return slice(int(used[0]), int(used[-1]) + 1)


def _is_identity(matrix: Tensor) -> bool:
    return matrix.shape[0] == matrix.shape[1] and bool(
        (matrix == torch.eye(len(matrix), device=matrix.device)).all()
    )
