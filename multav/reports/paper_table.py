"""Accuracies in the layout of the paper's Table 1: a row per network and training, a column per attack."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from multav.reports.bound_unit import Unit
from multav.reports.summary import ModelNumbers, Summary
from multav.reports.wording import bound, percent, span, wilson
from multav.statistics.rates import Rate

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "×": r"$\times$",
}


@dataclass(frozen=True)
class PaperRow:
    """One row: which model it is, and how the paper names its network and its training ("Clean", "Mult", "Add")."""

    model: str
    network: str
    training: str = ""


def markdown_table(summary: Summary, rows: Sequence[PaperRow] | None = None) -> str:
    """The table in Markdown, each share with k/n and its Wilson interval. `rows` are all models if None.

    Raises `ValueError` for a row whose model the summary has not.
    """
    lines = [_markdown_line(_heading(summary)), "|---|---|" + "---:|" * (len(summary.cells) + 1)]
    for row, model in _found(summary, rows):
        rates = [model.clean, *(cell.robust for cell in model.cells)]
        lines.append(
            _markdown_line([row.network, row.training, *map(_markdown_rate, rates)], last_are_rates=True)
        )
    return "\n".join([*lines, "", f"{_markdown(_caption(summary))}", ""])


def latex_table(
    summary: Summary, rows: Sequence[PaperRow] | None = None, *, label: str = "tab:robustness"
) -> str:
    """The table in LaTeX (needs booktabs), shares in percent with their Wilson intervals beneath.

    Rows of one network follow each other without a rule, as the paper has them. Raises `ValueError` as
    `markdown_table` does, and for a label with other than letters, digits, colons and hyphens.
    """
    if not re.fullmatch(r"[A-Za-z0-9:-]+", label):
        raise ValueError(f"{label!r} is no LaTeX label: use letters, digits, colons and hyphens")
    columns = "ll" + "r" * (len(summary.cells) + 1)
    lines = [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_latex(_caption(summary))}}}",
        f"  \\label{{{label}}}",
    ]
    lines += [f"  \\begin{{tabular}}{{{columns}}}", r"    \toprule"]
    lines.append(f"    {' & '.join(map(_latex, _heading(summary)))} \\\\")
    before: str | None = None
    for row, model in _found(summary, rows):
        if row.network != before:
            lines.append(r"    \midrule")
        rates = [model.clean, *(cell.robust for cell in model.cells)]
        name = _latex(row.network) if row.network != before else ""
        before = row.network
        lines.append(f"    {' & '.join([name, _latex(row.training), *map(_latex_share, rates)])} \\\\")
        lines.append(f"    {' & '.join(['', '', *map(_latex_interval, rates)])} \\\\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""])


def _heading(summary: Summary) -> list[str]:
    units: list[tuple[str, float, Unit]] = [
        (cell.family, cell.threat_model.epsilon, cell.threat_model.unit) for cell in summary.cells
    ]
    return [
        "Network",
        "Training",
        "Clean",
        *(f"{family} {bound(epsilon, unit)}" for family, epsilon, unit in units),
    ]


def _caption(summary: Summary) -> str:
    grouped = f" in {summary.groups_read} groups" if summary.groups_read < summary.read else ""
    return (
        f"Accuracy in % on {summary.read} videos{grouped}, clean and under each attack at its bound, over all videos "
        f"that could be read, with Wilson intervals at {100 * summary.level:.0f} %."
        + ("" if summary.complete else " The audit is not complete.")
    )


def _found(summary: Summary, rows: Sequence[PaperRow] | None) -> list[tuple[PaperRow, ModelNumbers]]:
    models = {model.name: model for model in summary.models}
    rows = [PaperRow(name, name) for name in models] if rows is None else rows
    unknown = [row.model for row in rows if row.model not in models]
    if unknown:
        raise ValueError(f"the audit has no model {', '.join(unknown)}; it has {', '.join(models)}")
    return [(row, models[row.model]) for row in rows]


def _markdown_line(fields: Sequence[str], *, last_are_rates: bool = False) -> str:
    words = 2 if last_are_rates else len(fields)
    return "| " + " | ".join([*map(_markdown, fields[:words]), *fields[words:]]) + " |"


def _markdown_rate(rate: Rate) -> str:
    if rate.value is None:
        return "–"
    return f"{percent(rate.value, 2)} ({rate.count}/{rate.of}; {span(wilson(rate))})"


def _markdown(text: str) -> str:
    """Text that no Markdown reader takes for markup, nor for the end of a field or of a line."""
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    escaped = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", " ".join(text.split()))
    return "".join(entities.get(letter, letter) for letter in escaped)


def _latex_share(rate: Rate) -> str:
    return "--" if rate.value is None else f"{100 * rate.value:.2f}"


def _latex_interval(rate: Rate) -> str:
    interval = wilson(rate)
    if interval is None:
        return ""
    return f"{{\\scriptsize {rate.count}/{rate.of} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]}}"


def _latex(text: str) -> str:
    """Text in which LaTeX finds no command, and no end of a field or of a row."""
    words = "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()) if letter.isprintable())
    # After the end of a row, a bracket or a star would be an option of it.
    return f"{{}}{words}" if words.startswith(("[", "*")) else words
