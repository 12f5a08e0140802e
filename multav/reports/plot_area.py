"""The frame of a line chart: shares from 0 to 100 % upward, bounds to the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from multav.reports.bound_unit import Unit
from multav.reports.svg import element, line, text
from multav.reports.wording import bound


@dataclass(frozen=True)
class PlotArea:
    """Where the corners lie in the picture, and which bounds the left and the right edge stand for."""

    left: float
    top: float
    right: float
    bottom: float
    first: float
    last: float
    logarithmic: bool

    def x(self, epsilon: float) -> float:
        """Where `epsilon` lies."""
        at = [log(each) if self.logarithmic else each for each in (epsilon, self.first, self.last)]
        return self.left + (self.right - self.left) * (at[0] - at[1]) / ((at[2] - at[1]) or 1)

    def y(self, share: float) -> float:
        """Where a share in [0, 1] lies."""
        return self.bottom - (self.bottom - self.top) * share

    def frame(self, ticks: Sequence[float], *, unit: Unit, clean: bool, upward: str) -> str:
        """Grid, axes and their words; `ticks` are bounds, the first of which is the clean clip if `clean`."""
        parts = [text(upward, self.left, self.top - 10, css="tick")]
        for share in (0, 0.25, 0.5, 0.75, 1):
            parts.append(
                line(self.left, self.y(share), self.right, self.y(share), "grid" if share else "axis")
            )
            parts.append(
                text(f"{100 * share:.0f}", self.left - 7, self.y(share) + 4, css="tick", anchor="end")
            )
        free = self.right + 60
        # From the right: the largest bound always has its label.
        for number, epsilon in reversed(list(enumerate(ticks))):
            at = self.x(epsilon)
            parts.append(element("line", x1=at, y1=self.bottom, x2=at, y2=self.bottom + 4, css="axis"))
            words = "clean" if clean and number == 0 else bound(epsilon, unit)
            width = 6.2 * len(words) + 6
            if at + width / 2 <= free:
                parts.append(text(words, at, self.bottom + 18, css="tick", anchor="middle"))
                free = at - width / 2
        return "".join(parts)
