"""Figures as PNG files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def save_png(picture: NDArray[Any], path: Path | str) -> None:
    """Write one `picture`, (H, W, 3) uint8 RGB, to `path` as a PNG.

    Raises `ValueError` for another shape or type (choose one picture of a clip: `maps[0]`), and `OSError`.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(
            f"{picture.shape} {picture.dtype} is not one picture; expected (H, W, 3) uint8: of a clip's maps "
            "choose one, such as maps[0]"
        )
    # Maps are noise, on which a higher level spends time for nothing.
    Image.fromarray(picture).save(path, format="PNG", compress_level=4)
