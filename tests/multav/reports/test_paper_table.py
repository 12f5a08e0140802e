"""Table 1 in Markdown and LaTeX."""

import re

import pytest

from multav.reports.paper_table import PaperRow, latex_table, markdown_table
from tests.multav.reports.conftest import MODELS, Reported


def test_markdown_has_every_share(reported: Reported) -> None:
    lines = markdown_table(reported.summary).splitlines()
    assert lines[0] == (
        "| Network | Training | Clean | multav-linf ×1.01 | multav-linf ×1.02 | multav-linf ×1.04 | pgd-linf 1/255 "
        "| pgd-linf 2/255 | pgd-linf 4/255 | multav-l2 160 |"
    )
    for line, model in zip(lines[2:], reported.summary.models, strict=False):
        fields = line.split(" | ")
        assert len(fields) == 10
        for field, rate in zip(
            fields[2:], [model.clean, *(cell.robust for cell in model.cells)], strict=True
        ):
            assert field.startswith(f"{100 * (rate.value or 0):.2f} % ({rate.count}/{rate.of}; ")


def test_names_are_words_and_no_markup(reported: Reported) -> None:
    rows = [
        PaperRow(MODELS[0], "a|b <script> *x* \n# `c`", "Mult_2"),
        PaperRow(MODELS[1], "[l](javascript:x)"),
    ]
    table = markdown_table(reported.summary, rows)
    line = table.splitlines()[2]
    assert line.startswith(r"| a\|b &lt;script&gt; \*x\* \# \`c\` | Mult\_2 | ")
    assert r"\[l\](javascript:x)" in table


def test_latex_is_balanced_and_escaped(reported: Reported) -> None:
    rows = [
        PaperRow(MODELS[0], r"50% & $x_1$ {y}~^#\input{/etc/passwd}", "Clean"),
        PaperRow(MODELS[1], r"50% & $x_1$ {y}~^#\input{/etc/passwd}", "[2pt]"),
        PaperRow(MODELS[2], "*other", "\x00Add"),
    ]
    table = latex_table(reported.summary, rows, label="tab:made")
    assert r"\input" not in table
    assert (
        r"50\% \& \$x\_1\$ \{y\}\textasciitilde{}\textasciicircum{}\#\textbackslash{}input\{/etc/passwd\}"
        in table
    )
    assert "{}[2pt]" in table
    assert "{}*other" in table
    assert "\x00" not in table
    body = table[table.index(r"\toprule") : table.index(r"\bottomrule")]
    for row in re.findall(r"^    (.* \\\\)$", body, re.MULTILINE):
        assert len(re.findall(r"(?<!\\)&", row)) == 9
    plain = re.sub(r"\\[{}]", "", table)
    assert plain.count("{") == plain.count("}")
    # The network is named once, and a rule parts it from the next.
    assert table.count("passwd") == 1
    assert table.count(r"\midrule") == 2


def test_what_is_not_there_is_refused(reported: Reported) -> None:
    with pytest.raises(ValueError, match="no model gone"):
        markdown_table(reported.summary, [PaperRow("gone", "x")])
    with pytest.raises(ValueError, match="label"):
        latex_table(reported.summary, label="a}b")
