"""What a moving camera sees of a flat picture: the sampling points of each frame, and the sampling."""

import numpy as np
import torch
from torch.nn import functional as F

from multav.synthetic.camera_path import CameraPath, Floats


def view_points(path: CameraPath, *, pixels: int) -> Floats:
    """Where each pixel of each frame looks, float32 (T, pixels, pixels, 2) as (x, y).

    In sides of the picture, x right and y down, 0 where the camera looks at the middle of the clip.
    A camera rolled clockwise has its own axes turned clockwise, so the scene turns the other way.
    """
    along = ((np.arange(pixels, dtype=np.float32) + 0.5) / pixels - 0.5).astype(np.float32)
    side = np.exp(-path.log_zoom)
    right = (side * np.cos(path.roll))[:, None, None]
    down = (side * np.sin(path.roll))[:, None, None]
    u, v = along[None, None, :], along[None, :, None]
    x = path.x[:, None, None] + right * u - down * v
    y = path.y[:, None, None] + down * u + right * v
    return np.stack([x, y], axis=-1)


def extent(path: CameraPath) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of all that the camera sees on its way, in sides of the picture."""
    corners = view_points(path, pixels=2) * 2  # pixel centres lie at a quarter: twice as far is the corner
    corners -= np.stack([path.x, path.y], axis=-1)[:, None, None, :]
    (left, top), (right, bottom) = corners.min((0, 1, 2)), corners.max((0, 1, 2))
    return float(left), float(top), float(right), float(bottom)


def look(
    picture: Floats, path: CameraPath, *, centre: tuple[float, float], side: float, pixels: int
) -> Floats:
    """The clip that a camera on `path` takes of `picture` (3,H,W): float32 (T, 3, pixels, pixels), bilinear.

    `centre` (x, y) and `side` place the view at the middle of the clip, in pixels of the picture (its top
    left corner is 0, 0). Beyond its edges the picture goes on mirrored.
    """
    height, width = picture.shape[1:]
    points = view_points(path, pixels=pixels) * np.float32(side) + np.array(centre, np.float32)
    # grid_sample counts from -1 at the picture's left and top edge to 1 at its right and bottom edge
    grid = points * np.array([2 / width, 2 / height], np.float32) - 1
    source = torch.from_numpy(picture).expand(len(grid), -1, -1, -1)
    seen = F.grid_sample(
        source, torch.from_numpy(grid), mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return seen.numpy()


def shrink(clip: Floats, *, pixels: int) -> Floats:
    """Resize (T,3,H,W) to (T, 3, pixels, pixels) as the preprocessing does: bilinear, antialiased."""
    small = F.interpolate(
        torch.from_numpy(clip), size=(pixels, pixels), mode="bilinear", antialias=True, align_corners=False
    )
    return small.numpy()
