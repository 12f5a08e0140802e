"""Pictures of an attack for people: difference maps and side-by-side sheets."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from multav.grid import EIGHT_BITS, Grid, shown
from multav.video.picture import Picture

# The paper shows differences enlarged fifteen times.
GAIN = 15
_PANEL_WIDTH = 420
_PANEL_HEIGHT = 560
_CAPTION_WIDTH = 260
_CAPTION_HEIGHT = 34
_GAP = 6


def difference_map(
    source: Picture, crafted: Picture, gain: int = GAIN, grid: Grid = EIGHT_BITS
) -> NDArray[np.uint8]:
    """`gain` times the change around mid grey, (H, W, 3) uint8, clipped to 0..255; `crafted` is on `grid`."""
    change = grid.change(source, crafted)
    enlarged: NDArray[np.uint8] = np.clip(change * gain + 128, 0, 255).astype(np.uint8)
    return enlarged


def thin(picture: Picture, longest: int) -> Picture:
    """Every n-th pixel of `picture`, so that its longer side is at most `longest` and both sides are even."""
    step = -(-max(picture.shape[:2]) // longest)
    thinned = picture[::step, ::step]
    height, width = (max(2, side - side % 2) for side in thinned.shape[:2])
    missing = [(0, max(0, side - have)) for side, have in zip((height, width), thinned.shape, strict=False)]
    thinned = np.pad(thinned, (*missing, (0, 0)), mode="edge")
    return np.ascontiguousarray(thinned[:height, :width])


@dataclass
class Sheet:
    """A sheet of clean | adversarial | difference rows, one per chosen picture."""

    grid: Grid = EIGHT_BITS
    rows: list[tuple[NDArray[np.uint8], ...]] = field(default_factory=list)

    def add(self, source: Picture, delivered: Picture, crafted: Picture) -> None:
        """Add a row: the clean picture, the delivered one, and the map of what was crafted."""
        seen = (shown(source, self.grid.clean_bits), shown(delivered, self.grid.bits))
        self.rows.append((*seen, difference_map(source, crafted, grid=self.grid)))

    def save(self, path: Path, captions: tuple[str, str, str]) -> None:
        """Write the sheet as a PNG with a caption above each column."""
        height, width = self.rows[0][0].shape[:2]
        # Within both, however long and thin the video is.
        scale = min(_PANEL_WIDTH / width, _PANEL_HEIGHT / height)
        panel = (max(1, round(scale * width)), max(1, round(scale * height)))
        pitch = max(panel[0], _CAPTION_WIDTH) + _GAP
        sheet = Image.new(
            "RGB",
            (3 * pitch + _GAP, _CAPTION_HEIGHT + len(self.rows) * (panel[1] + _GAP)),
            (18, 18, 20),
        )
        font = ImageFont.load_default(16)
        draw = ImageDraw.Draw(sheet)
        # Pictures smaller than a panel show their pixels, larger ones are averaged.
        filtering = Image.Resampling.NEAREST if width < _PANEL_WIDTH else Image.Resampling.BOX
        for column, caption in enumerate(captions):
            left = _GAP + column * pitch
            draw.text((left + 4, 8), caption, font=font, fill=(235, 235, 235))
            for row, pictures in enumerate(self.rows):
                image = Image.fromarray(pictures[column]).resize(panel, filtering)
                sheet.paste(image, (left, _CAPTION_HEIGHT + row * (panel[1] + _GAP)))
        sheet.save(path, format="PNG", optimize=False)
