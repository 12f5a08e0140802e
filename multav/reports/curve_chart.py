"""Accuracy against the bound as a picture: one line for each model, each with its interval."""

from collections.abc import Sequence
from typing import Final

from multav.reports.plot_area import PlotArea
from multav.reports.summary import FamilyCurve
from multav.reports.svg import SERIES, legend, mark, path, picture, text
from multav.reports.wording import bound, percent, span, wilson
from multav.statistics.curves import AccuracyCurve
from multav.statistics.rates import Interval, Rate

_WIDTH: Final = 440
_HEIGHT: Final = 270


def curve_chart(curves: Sequence[tuple[str, FamilyCurve]]) -> str:
    """The curves of one family, each with its model's name, at most eight of them. Intervals are the wider ones."""
    curves = curves[:SERIES]
    family = curves[0][1]
    ticks = sorted({point.epsilon for _, each in curves for point in each.curve.points})
    several = len(curves) > 1
    area = PlotArea(44, 58, _WIDTH - 22, _HEIGHT - 34, ticks[0], ticks[-1], family.curve.scale != "epsilon")
    parts = [
        text(family.family, 8, 20, css="heading"),
        area.frame(ticks, unit=family.unit, clean=True, upward="% right"),
    ]
    bands, lines = [], []
    for series, (name, each) in enumerate(curves):
        bands.append(_band(area, each.curve, series))
        lines.append(_line(area, name, each, series))
    parts += [*bands, *lines]
    height = _HEIGHT
    if several:
        parts.append(legend([name for name, _ in curves], area.left, _HEIGHT + 8))
        height += 18 * len(curves) + 6
    said = "; ".join(f"{name}: {_in_words(each)}" for name, each in curves)
    return picture(
        _WIDTH,
        height,
        "".join(parts),
        title=f"Accuracy against the bound of {family.family}",
        description=f"Share of videos classified right, with 95 % intervals. {said}.",
    )


def _in_words(each: FamilyCurve) -> str:
    points = each.curve.points
    return ", ".join(f"{bound(point.epsilon, each.unit)} {percent(point.accuracy.value)}" for point in points)


def widest(rate: Rate) -> Interval | None:
    """The wider of the two intervals of a rate: both claims hold within it."""
    own = wilson(rate)
    if own is None or rate.by_group is None:
        return own
    return max(own, rate.by_group, key=lambda interval: interval.high - interval.low)


def _band(area: PlotArea, curve: AccuracyCurve, series: int) -> str:
    known = [(point.epsilon, interval) for point in curve.points if (interval := widest(point.accuracy))]
    upper = [(area.x(epsilon), area.y(interval.high)) for epsilon, interval in known]
    lower = [(area.x(epsilon), area.y(interval.low)) for epsilon, interval in known]
    return path([*upper, *reversed(lower)], f"band s{series}", closed=True) if known else ""


def _line(area: PlotArea, name: str, each: FamilyCurve, series: int) -> str:
    known = [
        (point.epsilon, point.accuracy) for point in each.curve.points if point.accuracy.value is not None
    ]
    at = [(area.x(epsilon), area.y(rate.value or 0.0)) for epsilon, rate in known]
    if not at:
        return ""
    marks = [
        mark(
            series,
            x,
            y,
            f"{name} at {bound(epsilon, each.unit)}: {percent(rate.value)} "
            f"({rate.count} of {rate.of}), 95 % interval {span(widest(rate))}",
        )
        for (x, y), (epsilon, rate) in zip(at, known, strict=True)
    ]
    return path(at, f"line s{series}", series=series) + "".join(marks)
