"""Numbers as a reader expects them: shares in percent, bounds in their own unit, small p-values as bounds."""

from typing import Final

from multav.reports.bound_unit import Unit
from multav.statistics.rates import Interval, Rate

NOTHING: Final = "–"
"""Stands where there is no number."""

_LEVELS: Final = 255


def percent(share: float | None, digits: int = 1) -> str:
    """ "47.0 %"; a dash for None."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def points(share: float | None) -> str:
    """A difference of shares with its sign, in percentage points."""
    return NOTHING if share is None else f"{100 * share:+.1f}".replace("-", "−")


def span(interval: Interval | None) -> str:
    """ "45.4 to 48.6", in percent."""
    return (
        NOTHING
        if interval is None
        else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}".replace("-", "−")
    )


def wilson(rate: Rate) -> Interval | None:
    """Wilson's interval of a rate."""
    return None if rate.low is None or rate.high is None else Interval(rate.low, rate.high)


def bound(epsilon: float | None, unit: Unit) -> str:
    """A bound in its own unit: "×1.04" of a ratio, "4/255" of a difference that is a whole number of levels."""
    if epsilon is None:
        return NOTHING
    if unit == "ratio":
        return f"×{epsilon:.4g}"
    if unit == "length":
        return f"{epsilon:.4g}"
    levels = epsilon * _LEVELS
    whole = round(levels)
    if 0 < whole <= _LEVELS and abs(levels - whole) < 1e-3:
        return f"{whole}/{_LEVELS}"
    return f"{epsilon:.4g}"


def p_value(p: float) -> str:
    """ "0.013", or "< 0.0001"."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.001 else f"{p:.3f}"


def number(value: float | None) -> str:
    """Four digits; a dash for None."""
    return NOTHING if value is None else f"{value:.4g}"


def plain(value: float | int | str | bool | None) -> str:
    """A finding's number as people read it: four digits of a real one, the rest as it is."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return NOTHING if value is None else str(value)


def duration(seconds: float) -> str:
    """ "41 s", "12.5 min" or "3.2 h"."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
