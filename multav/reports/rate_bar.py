"""A share as a small bar with its interval, to stand beside its number."""

from html import escape

from multav.reports.curve_chart import widest
from multav.reports.svg import element, line
from multav.reports.wording import percent, span
from multav.statistics.rates import Rate


def rate_bar(rate: Rate) -> str:
    """100 by 10 units; the line is the wider 95 % interval. Empty without clips."""
    interval = widest(rate)
    if rate.value is None or interval is None:
        return ""
    said = escape(f"{percent(rate.value)}, 95 % interval {span(interval)}")
    body = (
        element("rect", x=0, y=1, width=100, height=8, rx=2, css="track")
        + element("rect", x=0, y=1, width=100 * rate.value, height=8, rx=2, css="fill")
        + line(100 * interval.low, 5, 100 * interval.high, 5, "between")
        + line(100 * interval.low, 2.5, 100 * interval.low, 7.5, "between")
        + line(100 * interval.high, 2.5, 100 * interval.high, 7.5, "between")
    )
    return f'<svg class="bar" viewBox="-1 0 102 10" width="102" height="10" role="img" aria-label="{said}">{body}</svg>'
