"""Pictures in any of the forms that people have them in, as 8-bit levels with the channels last."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.uint8]
"""RGB levels (..., H, W, 3)."""
Levels = NDArray[np.uint8] | NDArray[np.float32]
"""RGB levels 0..255 (..., H, W, 3); floats where the pictures were floats, so that no change is lost to rounding."""
Pictures = NDArray[Any] | Tensor
"""(H, W, 3), (T, H, W, 3), (3, T, H, W) or (B, 3, T, H, W); uint8 levels or floats in [0, 1]."""
Mask = NDArray[np.bool_] | Tensor
"""Bool (H, W), (T, H, W) or, as `multav.craft` gives it, (B, 1, T, H, W) or (1, T, H, W) of one clip."""


def levels_of(pictures: Pictures) -> Levels:
    """`pictures` as levels, channels last. Raises `TypeError` or `ValueError` for what is no picture."""
    array = _array(pictures)
    if array.dtype == np.uint8:
        levels: Levels = array
    elif np.issubdtype(array.dtype, np.floating):
        lowest, highest = (array.min(), array.max()) if array.size else (0.0, 0.0)
        # Not the other way round: a comparison with NaN is false.
        if not (lowest >= 0 and highest <= 1):
            raise ValueError(
                f"pictures range from {lowest:g} to {highest:g}; expected floats within [0, 1] or uint8 levels"
            )
        levels = array.astype(np.float32) * np.float32(255)
    else:
        raise TypeError(f"pictures are {array.dtype}; expected uint8 levels or floats in [0, 1]")
    # The last axis first: clips three pixels wide are rare, videos of three pictures are not.
    if array.ndim in (3, 4, 5) and array.shape[-1] == 3:
        return levels
    if array.ndim in (4, 5) and array.shape[-4] == 3:
        return np.moveaxis(levels, -4, -1)
    raise ValueError(
        f"pictures are {array.shape}; expected (H, W, 3), (T, H, W, 3), (3, T, H, W) or (B, 3, T, H, W)"
    )


def pair_of(clean: Pictures, adversarial: Pictures) -> tuple[Levels, Levels]:
    """Both as levels of one shape. Raises as `levels_of`, and `ValueError` for different shapes."""
    first, second = levels_of(clean), levels_of(adversarial)
    if first.shape != second.shape:
        raise ValueError(
            f"clean pictures are {tuple(clean.shape)}, adversarial ones {tuple(adversarial.shape)}: "
            "both must have the same shape"
        )
    return first, second


def mask_of(mask: Mask, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """`mask` as bool (..., H, W) for levels of `shape` (..., H, W, 3). Raises `TypeError` or `ValueError`."""
    array = _array(mask)
    if array.dtype != np.bool_:
        raise TypeError(f"the mask is {array.dtype}; expected bool")
    if array.ndim == len(shape) and array.shape[-4:-3] == (1,):
        array = array.squeeze(-4)
    if array.shape != shape[:-1]:
        raise ValueError(f"the mask is {tuple(mask.shape)}; expected {shape[:-1]}")
    return array


def _array(given: NDArray[Any] | Tensor) -> NDArray[Any]:
    if not isinstance(given, Tensor):
        return np.asarray(given)
    tensor = given.detach().cpu()
    # numpy has no bfloat16.
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array
