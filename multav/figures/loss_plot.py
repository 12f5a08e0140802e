"""Loss and confidence per step as a picture.

Drawn with Pillow, which is here anyway: a plotting library would cost every worker a second to load.
"""

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from multav.figures.lettering import font, one_line
from multav.figures.levels import Picture
from multav.loss_history import Curve, LossHistory

# A card of its own, so that it reads the same on a light and on a dark page.
_CARD: Final = (255, 255, 255)
_INK: Final = (40, 40, 45)
_FAINT: Final = (105, 105, 112)
_GRID: Final = (226, 226, 230)
# Okabe and Ito's blue and vermilion, told apart by colour-blind readers.
_LOSS: Final = (0, 114, 178)
_CONFIDENCE: Final = (213, 94, 0)
_BAND_SHARE: Final = 0.18

WIDTH: Final = 960
_TITLE: Final = 54
_PANEL: Final = 236
_HEADING: Final = 42
_FOOT: Final = 44
_LEFT: Final = 84
_RIGHT: Final = 32
# Lines are drawn larger and averaged: Pillow does not smooth them.
_OVERSAMPLING: Final = 3
_MOST_MARKERS: Final = 60
_TICKS: Final = 5


@dataclass(frozen=True)
class Axes:
    """One panel: where its corners lie in pixels, and which values they stand for (left, right) and (low, high)."""

    left: float
    top: float
    right: float
    bottom: float
    steps: int
    low: float
    high: float

    def x(self, step: float) -> float:
        """Pixels from the left of `step`; a single point lies in the middle."""
        return self.left + (self.right - self.left) * (step / self.steps if self.steps else 0.5)

    def y(self, value: float) -> float:
        """Pixels from the top of `value`."""
        return self.bottom - (self.bottom - self.top) * (value - self.low) / (self.high - self.low)


def loss_plot(
    losses: NDArray[Any] | Tensor | LossHistory,
    *,
    title: str | None = None,
    label: str | None = None,
    loss: str = "cross-entropy",
) -> Picture:
    """A plot of `crafted.losses` (steps + 1, B) over the gradient steps taken, as a picture (H, W, 3) uint8.

    Above the loss in nats, below the confidence in the attacked label (by name, if `label` is given), exp(-loss), in
    percent: the mean over the clips as a line, from the lowest to the highest clip as a band. A `loss` other than
    cross-entropy says nothing of confidence, and is plotted alone. Raises `ValueError` for losses of another shape
    or without a finite number.
    """
    history = losses if isinstance(losses, LossHistory) else LossHistory.of(losses)
    if not history.finite:
        raise ValueError("there are no finite losses to plot")
    panels = _panels(history, loss, label)
    height = _TITLE + len(panels) * (_HEADING + _PANEL) + _FOOT
    scale = _OVERSAMPLING
    card = Image.new("RGB", (WIDTH * scale, height * scale), _CARD)
    steps = len(history.loss) - 1
    for index, panel in enumerate(panels):
        _draw_curves(ImageDraw.Draw(card), panel, _axes(index, panel, steps))
    card = card.resize((WIDTH, height), Image.Resampling.BOX)
    draw = ImageDraw.Draw(card)
    for index, panel in enumerate(panels):
        _draw_words(draw, panel, _axes(index, panel, steps))
    if title is None:
        title = "Loss and confidence per step" if len(panels) == 2 else "Loss per step"
    legend = f"line: mean of {history.clips} clips; band: lowest to highest" if history.clips > 1 else ""
    room = WIDTH - _LEFT - _RIGHT - font(14).getlength(legend) - 20
    draw.text((_LEFT, _TITLE / 2 + 4), one_line(title, font(20), room), font=font(20), fill=_INK, anchor="lm")
    draw.text((WIDTH - _RIGHT, _TITLE / 2 + 5), legend, font=font(14), fill=_FAINT, anchor="rm")
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    draw.text((middle, height - _FOOT / 2), "gradient steps taken", font=font(15), fill=_INK, anchor="mm")
    return np.asarray(card)


@dataclass(frozen=True)
class _Panel:
    heading: str
    curve: Curve
    lowest: Curve
    highest: Curve
    colour: tuple[int, int, int]
    limits: tuple[float, float]
    ticks: list[float]
    unit: str


def _panels(history: LossHistory, loss: str, label: str | None) -> list[_Panel]:
    lowest, highest = history.loss_range
    # Cross-entropy begins at zero, and is compared with zero.
    ticks = _ticks(min(0.0, float(lowest.min())), float(highest.max()))
    unit = " (nats)" if loss == "cross-entropy" else ""
    panels = [
        _Panel(
            f"loss: {loss}{unit}",
            history.loss,
            lowest,
            highest,
            _LOSS,
            (ticks[0], ticks[-1]),
            ticks,
            "",
        )
    ]
    if loss == "cross-entropy":
        attacked = "the attacked label" if label is None else f"“{label}”"
        panels.append(
            _Panel(
                f"confidence in {attacked} (%)",
                history.confidence * 100,
                history.confidence_range[0] * 100,
                history.confidence_range[1] * 100,
                _CONFIDENCE,
                (0.0, 100.0),
                [0.0, 25.0, 50.0, 75.0, 100.0],
                "%",
            )
        )
    return panels


def _axes(index: int, panel: _Panel, steps: int) -> Axes:
    top = _TITLE + index * (_HEADING + _PANEL) + _HEADING
    return Axes(_LEFT, top, WIDTH - _RIGHT, top + _PANEL - 30, steps, *panel.limits)


def _draw_curves(draw: ImageDraw.ImageDraw, panel: _Panel, axes: Axes) -> None:
    def at(step: float, value: float) -> tuple[float, float]:
        return axes.x(step) * _OVERSAMPLING, axes.y(value) * _OVERSAMPLING

    for tick in panel.ticks:
        draw.line([at(0, tick), at(axes.steps, tick)], fill=_GRID, width=_OVERSAMPLING)
    steps = range(axes.steps + 1)
    band = [at(step, panel.highest[step]) for step in steps]
    band += [at(step, panel.lowest[step]) for step in reversed(steps)]
    if axes.steps:
        draw.polygon(band, fill=_pale(panel.colour))
        # Over the band as well, or a wide one would leave no lines to read values by.
        for tick in panel.ticks:
            draw.line([at(0, tick), at(axes.steps, tick)], fill=_GRID, width=_OVERSAMPLING)
        points = [at(step, panel.curve[step]) for step in steps]
        draw.line(points, fill=panel.colour, width=2 * _OVERSAMPLING, joint="curve")
    if axes.steps < _MOST_MARKERS:
        for step in steps:
            draw.circle(at(step, panel.curve[step]), 4 * _OVERSAMPLING, fill=panel.colour)


def _draw_words(draw: ImageDraw.ImageDraw, panel: _Panel, axes: Axes) -> None:
    heading = one_line(panel.heading, font(15), axes.right - axes.left)
    draw.text((axes.left, axes.top - 18), heading, font=font(15), fill=panel.colour, anchor="lm")
    for tick in panel.ticks:
        draw.text((axes.left - 10, axes.y(tick)), f"{tick:g}", font=font(14), fill=_FAINT, anchor="rm")
    for step in _whole_steps(axes.steps):
        draw.text((axes.x(step), axes.bottom + 8), str(step), font=font(14), fill=_FAINT, anchor="ma")
    # The end is what people ask for: the number itself, above its point unless that is too near the top.
    last = float(panel.curve[-1])
    above = axes.y(last) - axes.top > 30
    draw.text(
        (axes.x(axes.steps) - 2, axes.y(last) + (-10 if above else 10)),
        f"{last:.3g}{panel.unit}",
        font=font(15),
        fill=panel.colour,
        anchor="rs" if above else "ra",
    )


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers, the first at or below `low` and the last at or above `high`."""
    spread = high - low if high > low else 1.0
    raw = spread / _TICKS
    power = 10.0 ** floor(log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw)
    # The nudge forgives ends that are round numbers but for rounding.
    first, last = floor(low / step + 1e-9), ceil((low + spread) / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _whole_steps(steps: int) -> list[int]:
    """The steps that are named: all of a few, and round ones of many."""
    if steps <= 10:
        return list(range(steps + 1))
    return [round(tick) for tick in _ticks(0, steps) if tick <= steps]


def _pale(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(255 + (part - 255) * _BAND_SHARE) for part in colour)
    return red, green, blue
