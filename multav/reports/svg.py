"""Elements of inline SVG pictures: escaped, named for screen readers, coloured by the style sheet alone."""

from html import escape
from importlib.resources import files
from typing import Final

SERIES: Final = 8
"""So many lines can be told apart, by colour, dashes and marks."""

# Beside their colours (`charts.css`, after Okabe & Ito): for readers without colour, and for print.
_DASHES: Final = ("", "7 3", "2 3", "9 3 2 3", "4 4", "12 4", "1 4", "6 2 1 2 1 2")


def element(name: str, content: str = "", **attributes: float | str) -> str:
    """One element; `content` is markup already. Underscores in names become hyphens, `css` is its class."""
    written = "".join(
        f' {"class" if key == "css" else key.replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value != ""
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text(words: str, x: float, y: float, *, css: str = "", anchor: str = "start", turned: float = 0) -> str:
    """Words at a point; `anchor` is start, middle or end; `turned` in degrees."""
    turn = f"rotate({turned:g} {x:.1f} {y:.1f})" if turned else ""
    return element("text", escape(words), x=x, y=y, css=css, text_anchor=anchor, transform=turn)


def tooltip(words: str) -> str:
    """What a pointer over the parent shows, and a screen reader says."""
    return element("title", escape(words))


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, css=css)


def path(points: list[tuple[float, float]], css: str, *, closed: bool = False, series: int = 0) -> str:
    """A line through points, dashed as its series is; or the area within them."""
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if closed else "")
    return element("path", d=d, css=css, stroke_dasharray="" if closed else _DASHES[series % SERIES])


def mark(series: int, x: float, y: float, note: str) -> str:
    """A point of a series in its own shape, with a tooltip."""
    css, r = f"mark s{series % SERIES}", 4.0
    shape = series % 4
    if shape == 0:
        return element("circle", tooltip(note), cx=x, cy=y, r=r, css=css)
    if shape == 1:
        return element(
            "rect", tooltip(note), x=x - r + 0.5, y=y - r + 0.5, width=2 * r - 1, height=2 * r - 1, css=css
        )
    corners = [(0, -1), (1, 0), (0, 1), (-1, 0)] if shape == 2 else [(0, -1), (1, 0.8), (-1, 0.8)]
    d = "M" + "L".join(f"{x + 1.2 * r * dx:.1f} {y + 1.2 * r * dy:.1f}" for dx, dy in corners) + "Z"
    return element("path", tooltip(note), d=d, css=css)


def legend(names: list[str], x: float, y: float, *, row: float = 18) -> str:
    """One row for each series, from `y` down."""
    rows = []
    for series, name in enumerate(names):
        at = y + row * series
        rows.append(path([(x, at), (x + 26, at)], f"line s{series % SERIES}", series=series))
        rows.append(mark(series, x + 13, at, name))
        rows.append(text(name, x + 34, at + 4, css="label"))
    return "".join(rows)


def picture(width: float, height: float, body: str, *, title: str, description: str, css: str = "") -> str:
    """A whole picture that scales with its place. Its colours come from `charts.css`, which the page has."""
    head = element("title", escape(title)) + element("desc", escape(description))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart {css}" role="img" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}">{head}{body}</svg>'
    )


def standing_alone(svg: str) -> str:
    """The same picture as a file of its own, with its style sheet in it."""
    start, _, rest = svg.partition(">")
    return f"{start}><style><![CDATA[{style_sheet('charts.css')}]]></style>{rest}"


def style_sheet(name: str) -> str:
    """One of the package's style sheets."""
    return files("multav.reports").joinpath(name).read_text(encoding="utf-8")


def _value(value: float | str) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
