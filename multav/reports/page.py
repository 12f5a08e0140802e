"""The report as one HTML file that needs nothing else: no script, no font, no other file, no network."""

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from multav.audits.outcome import CLEAN
from multav.reports import wording
from multav.reports.curve_chart import curve_chart, widest
from multav.reports.distribution_chart import distribution_chart, in_words
from multav.reports.example_clip import ExampleClip, data_uri
from multav.reports.heat_map import heat_map
from multav.reports.rate_bar import rate_bar
from multav.reports.summary import Comparison, Confusion, ModelNumbers, Summary
from multav.reports.svg import style_sheet

_MOST_CLASSES: Final = 120
_MOST_CONFUSIONS: Final = 8
_MOST_PROBLEMS: Final = 500


@dataclass(frozen=True)
class _Play:
    """An example with its files as data: URIs."""

    clip: ExampleClip
    parts: tuple[tuple[str, str, str, str], ...]
    """Heading, what the model sees, media type, URI."""


def page(
    summary: Summary,
    *,
    title: str = "Robustness audit",
    examples: Mapping[str, Sequence[ExampleClip]] | None = None,
) -> str:
    """The whole page. `examples` are by model. Raises `ValueError` or `OSError` for an example that cannot be shown."""
    written = summary.manifest.model_dump_json(indent=2) if summary.manifest else None
    return _template().render(
        title=title,
        summary=summary,
        cells={cell.name: cell for cell in summary.cells},
        questions=_questions(summary),
        charts=[Markup(curve_chart(curves)) for curves in _curves(summary)],
        rises=[
            (model.name, each.family, each.unit, rise)
            for model in summary.models
            for each in model.curves
            for rise in each.curve.rises
        ],
        areas=[
            (model.name, each)
            for model in summary.models
            for each in model.curves
            if len(each.curve.points) > 2
        ],
        distributions=[Markup(distribution_chart(found)) for found in _distributions(summary)],
        minima=[(model.name, each) for model in summary.models for each in model.minimum_epsilons],
        transfer=_transfer(summary),
        class_maps=[(model, Markup(_class_map(model))) for model in summary.models],
        confusions=[(model.name, _confusions(summary, model)) for model in summary.models],
        examples={
            name: [_playable(each) for each in given] for name, given in (examples or {}).items() if given
        },
        problems=summary.problems[:_MOST_PROBLEMS],
        most_classes=_MOST_CLASSES,
        manifest=written,
        manifest_uri=_json_uri(written) if written else "",
        style=Markup(style_sheet("charts.css") + style_sheet("page.css")),
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    words: dict[str, Any] = {
        name: getattr(wording, name)
        for name in ("percent", "points", "span", "p_value", "number", "plain", "duration")
    }
    environment.filters |= words | {
        "bar": lambda rate: Markup(rate_bar(rate)),
        "wilson": wording.wilson,
        "widest": widest,
        "in_words": in_words,
        "breaking": _breaking,
    }
    environment.globals["bound"] = wording.bound
    environment.globals["CLEAN"] = CLEAN
    return environment.from_string(style_sheet("page.html.j2"))


def _questions(summary: Summary) -> list[tuple[str, list[Comparison]]]:
    """Comparisons by what they ask, in order."""
    found: dict[str, list[Comparison]] = {}
    for each in summary.comparisons:
        found.setdefault(each.question, []).append(each)
    return list(found.items())


def _curves(summary: Summary) -> list[list[tuple[str, Any]]]:
    """The curves of each family that was tried at more than one bound, model by model."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for model in summary.models:
        for each in model.curves:
            if len(each.curve.points) > 2:
                found.setdefault(each.family, []).append((model.name, each))
    return list(found.values())


def _distributions(summary: Summary) -> list[list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    for model in summary.models:
        for each in model.minimum_epsilons:
            found.setdefault(each.cell, []).append((model.name, each))
    return list(found.values())


def _transfer(summary: Summary) -> list[tuple[str, Markup, list[Any]]]:
    """For each cell its matrix as a picture, and its rows."""
    found = []
    for cell in summary.cells:
        pairs = {
            (each.crafted_on, each.tested_on): each for each in summary.transfer if each.cell == cell.name
        }
        if not pairs:
            continue
        models = [model.name for model in summary.models]
        home = {
            model.name: next(each.success for each in model.cells if each.cell == cell.name)
            for model in summary.models
        }
        values = [
            [
                (home[row].count, home[row].of)
                if row == column
                else (pairs[row, column].success.count, pairs[row, column].success.of)
                if (row, column) in pairs
                else None
                for column in models
            ]
            for row in models
        ]
        picture = heat_map(
            models,
            models,
            values,
            title=f"Transfer of {cell.name}",
            description="Share of the videos fooled, in percent: rows crafted on, columns tested on.",
            warm=True,
            down="crafted on",
            across="tested on, % fooled",
        )
        found.append((cell.name, Markup(picture), list(pairs.values())))
    return found


def _class_map(model: ModelNumbers) -> str:
    """Accuracy of each class before and under each attack; the classes that lose most, where there are many."""

    def left(row: Any) -> float:
        return (row.worst.value or 0.0) - (row.clean.value or 0.0)

    rows = model.classes
    if len(rows) > _MOST_CLASSES:
        kept = {row.name for row in sorted(rows, key=left)[:_MOST_CLASSES]}
        rows = tuple(row for row in rows if row.name in kept)
    cells = [each.cell for each in model.cells]
    several = len(cells) > 1
    return heat_map(
        [row.name for row in rows],
        [CLEAN, *cells, *(["worst case"] if several else [])],
        [
            [
                (row.clean.count, row.clean.of),
                *(row.after[cell] for cell in cells),
                *([(row.worst.count, row.worst.of)] if several else []),
            ]
            for row in rows
        ],
        title=f"Accuracy of {model.name} by class",
        description="Percent of each class's videos that are right: clean, under each attack, and under all of them.",
    )


def _confusions(
    summary: Summary, model: ModelNumbers
) -> list[tuple[str, int, list[tuple[str, str, int, int]]]]:
    """For the clean clips and each attack: (cell, wrong videos, most frequent (class, taken for, videos, of))."""
    return [(each.cell, *_most_confused(summary, each)) for each in model.confusions]


def _most_confused(summary: Summary, found: Confusion) -> tuple[int, list[tuple[str, str, int, int]]]:
    of: Counter[int] = Counter()
    for label, _, count in found.entries:
        of[label] += count
    wrong = [entry for entry in found.entries if entry[0] != entry[1]]
    return sum(count for _, _, count in wrong), [
        (summary.class_names[label], summary.class_names[taken], count, of[label])
        for label, taken, count in wrong[:_MOST_CONFUSIONS]
    ]


def _playable(clip: ExampleClip) -> _Play:
    parts = (
        ("before", clip.before, clip.clean_file),
        ("after", clip.after, clip.adversarial_file),
        ("difference × 15", "", clip.difference_file),
    )
    shown = [(heading, said, data_uri(media)) for heading, said, media in parts]
    return _Play(clip, tuple((heading, said, *uri) for heading, said, uri in shown if uri is not None))


def _breaking(name: str) -> Markup:
    """A cell's name that may be broken before its epsilon."""
    return Markup("<wbr>@").join(escape(part) for part in name.split("@"))


def _json_uri(text: str) -> str:
    return "data:application/json;base64," + b64encode(text.encode()).decode("ascii")
