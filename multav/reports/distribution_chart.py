"""How many clips are fooled within which bound, as a picture: one staircase for each model."""

from collections.abc import Sequence
from typing import Final

from multav.reports.plot_area import PlotArea
from multav.reports.summary import FamilyMinimum
from multav.reports.svg import SERIES, legend, line, mark, path, picture, text
from multav.reports.wording import bound, percent

_WIDTH: Final = 440
_HEIGHT: Final = 270


def distribution_chart(distributions: Sequence[tuple[str, FamilyMinimum]]) -> str:
    """The distributions of one cell, each with its model's name, at most eight; medians with their intervals."""
    distributions = distributions[:SERIES]
    one = distributions[0][1]
    smallest = [step.epsilon for _, each in distributions for step in each.distribution.steps[:1]]
    last = max(each.distribution.largest for _, each in distributions)
    first = min(smallest, default=_nothing(one))
    if first >= last:
        first = _nothing(one)
    logarithmic = one.unit == "ratio"
    area = PlotArea(44, 58, _WIDTH - 22, _HEIGHT - 34, first, last, logarithmic)
    middle = [first + (last - first) * share for share in (0, 0.25, 0.5, 0.75, 1)]
    parts = [
        text(one.family, 8, 20, css="heading"),
        area.frame(middle, unit=one.unit, clean=False, upward="% fooled"),
    ]
    for series, (name, each) in enumerate(distributions):
        parts.append(_staircase(area, each, series))
        parts.append(_median(area, name, each, series))
    height = _HEIGHT
    if len(distributions) > 1:
        parts.append(legend([name for name, _ in distributions], area.left, _HEIGHT + 8))
        height += 18 * len(distributions) + 6
    said = "; ".join(f"{name}: {in_words(each)}" for name, each in distributions)
    return picture(
        _WIDTH,
        height,
        "".join(parts),
        title=f"Smallest bound of {one.family} that fools the model",
        description=f"Share of the videos known before that are fooled within a bound. {said}.",
    )


def in_words(each: FamilyMinimum) -> str:
    """Median with its interval, and how many clips held."""
    found = each.distribution
    median = next((quantile for quantile in found.quantiles if quantile.share == 0.5), None)
    above = f"above {bound(found.largest, each.unit)}"

    def said(value: float | None) -> str:
        return above if value is None else bound(value, each.unit)

    if median is None:
        return "no video was known before"
    held = f"{found.above} of {found.clips} videos held up to the largest bound"
    return f"median {said(median.value)} (95 % interval {said(median.low)} to {said(median.high)}); {held}"


def _nothing(each: FamilyMinimum) -> float:
    """The bound that allows no change."""
    return 1.0 if each.unit == "ratio" else 0.0


def _staircase(area: PlotArea, each: FamilyMinimum, series: int) -> str:
    points, share = [(area.left, area.y(0))], 0.0
    for step in each.distribution.steps:
        points += [(area.x(step.epsilon), area.y(share)), (area.x(step.epsilon), area.y(step.share))]
        share = step.share
    points.append((area.x(each.distribution.largest), area.y(share)))
    return path(points, f"line s{series}", series=series)


def _median(area: PlotArea, name: str, each: FamilyMinimum, series: int) -> str:
    median = next((quantile for quantile in each.distribution.quantiles if quantile.share == 0.5), None)
    if median is None or median.value is None:
        return ""
    y = area.y(0.5)
    low = area.x(median.low) if median.low is not None else area.left
    high = area.x(median.high) if median.high is not None else area.right
    note = f"{name}: {in_words(each)} ({percent(0.5, 0)} of the videos)"
    return line(low, y, high, y, f"whisker s{series}") + mark(series, area.x(median.value), y, note)
