"""From source frames to what a model sees, as one linear map per picture, and back for gradients.

Resizing (bilinear, antialiased, as Pillow and `torch.nn.functional.interpolate(antialias=True)` do it) and
centre cropping act on rows and columns separately, so a picture becomes `rows @ picture @ columns.T`. The
gradient with respect to the source is `rows.T @ gradient @ columns`: exact, and cheaper than autograd through
the resize because nothing of the source's size is kept. Only the part of the source that reaches the crop
(`window`) takes part.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from multav.geometry import InputGeometry


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
        return (self.rows @ pictures) @ self.columns.T

    def adjoint(self, gradient: Tensor, out: Tensor | None = None) -> Tensor:
        """Gradient by the source. (..., height, width) -> (..., seen rows, seen columns).

        Written into `out` when given (a fresh tensor of the source's size costs twice the product itself).
        """
        if self.identity:
            return gradient.clone() if out is None else out.copy_(gradient)
        return torch.matmul(self.rows.T, gradient @ self.columns, out=out)


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
    rows, top = _seen(_resize_matrix(height, tall), geometry.height)
    columns, left = _seen(_resize_matrix(width, wide), geometry.width)
    return Preprocessing(rows.to(device), columns.to(device), top, left)


def no_preprocessing(height: int, width: int, device: torch.device | str = "cpu") -> Preprocessing:
    """The map that leaves pictures of `height` x `width` as they are."""
    return Preprocessing(torch.eye(height, device=device), torch.eye(width, device=device), 0, 0)


def _resize_matrix(source: int, target: int) -> Tensor:
    """(target, source) weights of the antialiased bilinear resize of one axis: what it makes of unit vectors."""
    if source == target:
        return torch.eye(source)
    units = torch.eye(source).reshape(1, 1, source, source)
    resized = functional.interpolate(
        units, size=(target, source), mode="bilinear", antialias=True, align_corners=False
    )
    return resized.reshape(target, source)


def _seen(matrix: Tensor, crop: int) -> tuple[Tensor, int]:
    """Keep the centre `crop` output rows of `matrix` and the input columns that they use; and the first of those."""
    offset = round((matrix.shape[0] - crop) / 2)
    kept = matrix[offset : offset + crop]
    used = torch.nonzero(kept.abs().sum(dim=0)).flatten()
    first, last = int(used[0]), int(used[-1])
    return kept[:, first : last + 1].contiguous(), first


def _is_identity(matrix: Tensor) -> bool:
    return matrix.shape[0] == matrix.shape[1] and bool(
        (matrix == torch.eye(len(matrix), device=matrix.device)).all()
    )
