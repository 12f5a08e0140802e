"""The pictures that an attack starts from: a video's own frames, or what a model makes of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from multav.preprocessing import Preprocessing
from multav.read_ahead import read_ahead
from multav.video.decode import Frame, Frames, Summary, decode
from multav.video.limits import Limits
from multav.video.picture import Picture


@dataclass(frozen=True)
class Footage:
    """A video file that can be read again and again, picture by picture.

    With `resize` (domain `model_input`) each frame is resized, cropped and rounded to 8 bits first, as the
    paper's loader does; with `keep` only frames of those indices are given. `on_end` hears what a whole pass found.
    `bits` is how deep the file's own frames are read (see `decode`).
    """

    path: Path
    limits: Limits
    resize: Preprocessing | None = None
    keep: frozenset[int] | None = None
    on_end: Callable[[Summary], None] | None = None
    bits: int = 8

    @contextmanager
    def open(self) -> Iterator[Iterator[Frame]]:
        """The frames in order, decoded a few ahead until the context is left. Raises the `BadVideo` family."""
        with (
            decode(self.path, self.limits, bits=self.bits) as frames,
            read_ahead(self._frames(frames)) as ahead,
        ):
            yield ahead

    def _frames(self, frames: Frames) -> Iterator[Frame]:
        for index, frame in enumerate(frames):
            if self.keep is not None and index not in self.keep:
                continue
            yield frame if self.resize is None else Frame(shrink(frame.rgb, self.resize), frame.pts)
        if self.on_end is not None and frames.summary is not None:
            self.on_end(frames.summary)


def shrink(picture: Picture, resize: Preprocessing) -> Picture:
    """(H, W, 3) uint8 -> the model's (height, width, 3) uint8, rounded to the nearest level."""
    rows, columns = resize.window
    # (H, W, 3) -> (3, H, W)
    seen = torch.from_numpy(picture[rows, columns]).permute(2, 0, 1).float()
    levels = resize.apply(seen).round_().clamp_(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())
