"""A table of shares as a picture: rows by columns, darker for more."""

from collections.abc import Sequence
from typing import Final

from multav.reports.svg import element, picture, text, tooltip
from multav.reports.wording import percent

_ROW: Final = 22
_COLUMN: Final = 38
_MOST_LETTERS: Final = 24
_LETTER: Final = 6.6
# Rotated by 50 degrees, a name of 24 letters is so high.
_TURNED: Final = 50
_HALF: Final = 0.55


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[tuple[int, int] | None]],
    *,
    title: str,
    description: str,
    warm: bool = False,
    down: str = "",
    across: str = "",
) -> str:
    """`values` are (count, of) for each row and column, None for a field that has none; `warm` where more is worse."""
    left = 16 + _LETTER * max((min(len(name), _MOST_LETTERS) for name in rows), default=1)
    longest = max((min(len(name), _MOST_LETTERS) for name in columns), default=1)
    top = 30 + 0.78 * _LETTER * longest + (16 if across else 0)
    width = left + _COLUMN * len(columns) + 14 + 0.66 * _LETTER * longest
    parts = []
    if across:
        parts.append(text(across, left, 14, css="faint small"))
    if down:
        parts.append(text(down, 8, top - 8, css="faint small"))
    for place, name in enumerate(columns):
        x = left + _COLUMN * (place + 0.5) + 3
        parts.append(
            element("g", tooltip(name) + text(_short(name), x, top - 8, css="small", turned=-_TURNED))
        )
    for down_by, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + _ROW * down_by
        parts.append(
            element("g", tooltip(name) + text(_short(name), left - 8, y + 15, css="small", anchor="end"))
        )
        for place, value in enumerate(row):
            parts.append(_field(left + _COLUMN * place, y, value, f"{name}, {columns[place]}"))
    return picture(
        width,
        top + _ROW * len(rows) + 8,
        "".join(parts),
        title=title,
        description=description,
        css="wide warm" if warm else "wide",
    )


def _field(x: float, y: float, value: tuple[int, int] | None, name: str) -> str:
    width, height = _COLUMN - 2, _ROW - 2
    if value is None or value[1] == 0:
        return element(
            "rect", tooltip(f"{name}: none"), x=x, y=y, width=width, height=height, rx=3, css="blank"
        )
    count, of = value
    share = count / of
    note = tooltip(f"{name}: {percent(share)} ({count} of {of})")
    fill = element(
        "rect", note, x=x, y=y, width=width, height=height, rx=3, css="q", style=f"--share:{100 * share:.0f}%"
    )
    words = text(
        f"{100 * share:.0f}",
        x + width / 2,
        y + 14.5,
        css="small dark" if share > _HALF else "small",
        anchor="middle",
    )
    return fill + words


def _short(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"
