"""A few frames of an attack side by side: clean, adversarial, and the maps of the change with their scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from multav.figures.changed_region import TINT, changed_region
from multav.figures.difference_maps import GAIN, GREY, difference_map, signed_difference_map
from multav.figures.diverging_colours import diverging
from multav.figures.lettering import font, one_line
from multav.figures.levels import Levels, Mask, Picture, Pictures, levels_of, mask_of, pair_of
from multav.figures.ratio_map import ratio_map

_PANEL_WIDTH: Final = 360
_PANEL_HEIGHT: Final = 480
_CAPTION_WIDTH: Final = 250
_CAPTION_HEIGHT: Final = 32
_SCALE_HEIGHT: Final = 46
_LABEL_HEIGHT: Final = 24
_BAR_HEIGHT: Final = 12
_GAP: Final = 6
_PAGE: Final = (18, 18, 20)
_INK: Final = (235, 235, 235)
_FAINT: Final = (170, 170, 175)


@dataclass(frozen=True)
class Scale:
    """What the colours of a map mean: a bar (N, 3) uint8 from left to right, and words at its ends and middle."""

    bar: Picture
    left: str
    middle: str
    right: str


@dataclass(frozen=True)
class Column:
    """One kind of picture, (H, W, 3) uint8 each, from top to bottom."""

    caption: str
    pictures: Sequence[Picture]
    scale: Scale | None = None


def contact_sheet(
    clean: Pictures,
    adversarial: Pictures,
    *,
    epsilon: float | None = None,
    mask: Mask | None = None,
    region: bool = False,
    shown: Pictures | None = None,
    captions: tuple[str, str] = ("clean", "adversarial"),
    rows: int = 3,
) -> Picture:
    """One picture (H, W, 3) uint8: up to `rows` frames, evenly spread, and of each one what was changed.

    Columns: clean, adversarial, the difference enlarged 15 times, the same with its sign; with an `epsilon` the ratio
    map; with a `mask`, or with `region` set, the changed region. `shown` stands in the adversarial column in the
    place of `adversarial`, from which the maps are made: as the file that was written of it. `captions` are those of
    the first two columns. Pictures as in `multav.figures`; of a batch the clips follow each other. Raises
    `TypeError` or `ValueError` for pictures, a mask or an epsilon that are none.
    """
    before, after = pair_of(clean, adversarial)
    visible = after if shown is None else pair_of(clean, shown)[1]
    inside = None if mask is None else mask_of(mask, before.shape)
    count = int(np.prod(before.shape[:-3]))
    if count == 0 or rows < 1:
        raise ValueError(f"{count} pictures in {rows} rows make no sheet")
    chosen = [(2 * row + 1) * count // (2 * min(rows, count)) for row in range(min(rows, count))]
    sources, changed, seen = (chosen_pictures(levels, chosen) for levels in (before, after, visible))
    pairs = list(zip(sources, changed, strict=True))
    columns = [
        Column(captions[0], [rounded(picture) for picture in sources]),
        Column(captions[1], [rounded(picture) for picture in seen]),
        Column(f"difference x{GAIN}", [difference_map(*pair) for pair in pairs], _difference_scale()),
        Column(
            f"signed difference x{GAIN}", [signed_difference_map(*pair) for pair in pairs], _signed_scale()
        ),
    ]
    if epsilon is not None:
        columns.append(
            Column("ratio to clean", [ratio_map(*pair, epsilon) for pair in pairs], ratio_scale(epsilon))
        )
    if region or inside is not None:
        masks = (
            [None] * len(chosen)
            if inside is None
            else list(inside.reshape(count, *inside.shape[-2:])[chosen])
        )
        overlays = [changed_region(*pair, within) for pair, within in zip(pairs, masks, strict=True)]
        columns.append(Column("changed region", overlays, _region_scale()))
    return compose(columns)


def compose(columns: Sequence[Column], labels: Sequence[str] = ()) -> Picture:
    """The columns side by side with their captions above and their scales below, (H, W, 3) uint8.

    All panels are as large as the first column's first. `labels`, if any, are words above each row.
    """
    height, width = columns[0].pictures[0].shape[:2]
    # Within both, however long and thin the pictures are.
    factor = min(_PANEL_WIDTH / width, _PANEL_HEIGHT / height)
    # Small pictures show their pixels, all of one size; larger ones are averaged.
    factor, filtering = (
        (int(factor), Image.Resampling.NEAREST) if factor >= 1 else (factor, Image.Resampling.BOX)
    )
    panel = (max(1, round(factor * width)), max(1, round(factor * height)))
    pitch = max(panel[0], _CAPTION_WIDTH) + _GAP
    above = _LABEL_HEIGHT if labels else 0
    tops = [
        _CAPTION_HEIGHT + row * (above + panel[1] + _GAP) + above for row in range(len(columns[0].pictures))
    ]
    bottom = tops[-1] + panel[1] + _GAP
    sheet = Image.new("RGB", (len(columns) * pitch + _GAP, bottom + _SCALE_HEIGHT), _PAGE)
    draw = ImageDraw.Draw(sheet)
    for index, column in enumerate(columns):
        left = _GAP + index * pitch
        caption = one_line(column.caption, font(16), pitch - _GAP)
        draw.text((left + 2, _CAPTION_HEIGHT / 2), caption, font=font(16), fill=_INK, anchor="lm")
        for top, picture in zip(tops, column.pictures, strict=True):
            sheet.paste(Image.fromarray(picture).resize(panel, filtering), (left, top))
        if column.scale is not None:
            _draw_scale(sheet, draw, column.scale, left, bottom, pitch - _GAP)
    for top, label in zip(tops, labels, strict=bool(labels)):
        words = one_line(label, font(14), sheet.width - 2 * _GAP)
        draw.text((_GAP + 2, top - above / 2), words, font=font(14), fill=_FAINT, anchor="lm")
    return np.asarray(sheet)


def ratio_scale(epsilon: float) -> Scale:
    """The scale of a ratio map."""
    return Scale(diverging(np.linspace(-1, 1, 255)), f"1/{epsilon:g}", "1 (unchanged)", f"{epsilon:g}")


def _difference_scale() -> Scale:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return Scale(grey, "0", "", f"{255 / GAIN:.0f} levels or more")


def _signed_scale() -> Scale:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return Scale(grey, f"-{GREY / GAIN:.1f}", "0", f"+{(255 - GREY) / GAIN:.1f} levels")


def _region_scale() -> Scale:
    return Scale(np.array([TINT], dtype=np.uint8), "", "changed pixels", "")


def _draw_scale(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, scale: Scale, left: int, top: int, width: int
) -> None:
    bar = Image.fromarray(scale.bar[None]).resize((width, _BAR_HEIGHT), Image.Resampling.NEAREST)
    sheet.paste(bar, (left, top))
    draw.rectangle((left, top, left + width - 1, top + _BAR_HEIGHT - 1), outline=_FAINT)
    words = top + _BAR_HEIGHT + 5
    draw.text((left + _GAP, words), scale.left, font=font(14), fill=_FAINT, anchor="la")
    draw.text((left + width / 2, words), scale.middle, font=font(14), fill=_FAINT, anchor="ma")
    draw.text((left + width - _GAP, words), scale.right, font=font(14), fill=_FAINT, anchor="ra")


def chosen_pictures(levels: Levels, chosen: list[int]) -> list[Levels]:
    """The chosen pictures (H, W, 3), as maps take them: uint8 levels, or floats in [0, 1]."""
    pictures = levels.reshape(-1, *levels.shape[-3:])
    return [
        picture if picture.dtype == np.uint8 else picture / np.float32(255)
        for picture in (pictures[index] for index in chosen)
    ]


def rounded(picture: Levels) -> Picture:
    """Levels as a picture holds them."""
    whole: Picture = np.rint(levels_of(picture)).astype(np.uint8)
    return whole
