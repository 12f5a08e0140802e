"""docs/threat-models/: a page for every kind, whose code runs, whose numbers are the specification's own."""

import json
import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multav.attack_request import AttackRequest
from multav.attacks.adaptive_attack import AdaptiveAttack
from multav.attacks.catalogue import ATTACKS, parse_attack
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.regions import Border, Rectangle, ScatteredPixels
from multav.attacks.spec import AttackSpec
from multav.cli import _spec
from multav.cli_options import parser
from multav.errors import InvalidSpec
from multav.quantise import LevelBounds
from tests.markdown import blocks, commands

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "threat-models"
INDEX = FOLDER / "README.md"
PARTS = (
    "Equation",
    "Epsilon and step size",
    "Fields",
    "Readings",
    "Beside its twin",
    "Code",
    "Command line and HTTP",
    "Pitfalls",
)
CREDIT = "*Big Buck Bunny, © Blender Foundation, [CC BY 3.0]"
SHARED = set(FixedStepAttack.model_fields) | set(AttackSpec.model_fields)
MOST_BYTES = 2_500_000

each_kind = pytest.mark.parametrize("kind", ATTACKS)


def text_of(kind: str) -> str:
    return (FOLDER / f"{kind}.md").read_text()


def rows(text: str, first: str) -> list[list[str]]:
    """The rows of the table whose header begins with `first`, cell by cell."""
    found, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0] == first:
            inside = True
        elif not cells:
            inside = False
        elif inside and set(cells[0]) != {"-"}:
            found.append(cells)
    return found


def value(cell: str) -> Any:
    """What a cell says: JSON, or a fraction."""
    word = cell.strip("`")
    return float(Fraction(word)) if re.fullmatch(r"\d+/\d+", word) else json.loads(word)


def links(text: str) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_pages_and_pictures_are_those_of_the_catalogue() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README"} == set(ATTACKS)
    assert {path.stem for path in (FOLDER / "pictures").iterdir()} == set(ATTACKS)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MOST_BYTES


@each_kind
def test_a_page_has_its_parts(kind: str) -> None:
    text = text_of(kind)
    assert text.startswith(f"# {kind}\n")
    titles = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    region = parse_attack({"kind": kind}).region.name
    wanted = list(PARTS) if region == "whole-clip" else [*PARTS[:4], "On source frames", *PARTS[4:]]
    assert titles == wanted
    assert f"](pictures/{kind}.jpg)\n\n{CREDIT}" in text
    for language, least in (("math", 1), ("python", 1), ("sh", 2)):
        assert len(blocks(text, language)) >= least


@each_kind
def test_fields_and_defaults_are_those_of_the_specification(kind: str) -> None:
    attack = parse_attack({"kind": kind}).model_dump(mode="json")
    said = {name.strip("`"): value(default) for name, default, _ in rows(text_of(kind), "field")}
    own = set(attack) - SHARED | ({"momentum"} if issubclass(ATTACKS[kind], AdaptiveAttack) else set())
    assert set(said) == own | {"epsilon", "steps"} | (set(attack) & {"step_size"})
    assert said == {name: attack[name] for name in said}


def test_the_index_has_every_kind_with_its_defaults() -> None:
    found = {}
    for kind, *_, epsilon, step_size, steps in rows(INDEX.read_text(), "kind"):
        name = re.fullmatch(r"\[`(.+)`\]\(\1\.md\)", kind)
        assert name is not None, kind
        numbers = [None if cell == "finds its own" else value(cell) for cell in (epsilon, step_size, steps)]
        found[name[1]] = numbers
    specs = {kind: parse_attack({"kind": kind}) for kind in ATTACKS}
    assert found == {
        kind: [spec.epsilon, getattr(spec, "step_size", None), spec.steps] for kind, spec in specs.items()
    }


@each_kind
def test_worked_levels_are_those_of_the_bound(kind: str) -> None:
    attack = parse_attack({"kind": kind})
    table = rows(text_of(kind), "clean level")
    assert bool(table) == attack.ball.elementwise
    bounds = LevelBounds.of(attack)
    for level, between in table:
        lowest, highest = (int(end) for end in between.split(" … "))
        assert (lowest, highest) == (bounds.lowest[int(level)], bounds.highest[int(level)])


@each_kind
def test_sizes_on_source_frames_are_those_of_the_region(kind: str) -> None:
    region = parse_attack({"kind": kind}).region
    table = rows(text_of(kind), "model's short side")
    assert bool(table) == (region.name != "whole-clip")
    for model, video, size in table:
        enlarged = region.enlarged(int(video) / int(model))
        if isinstance(enlarged, Rectangle):
            assert (enlarged.height, enlarged.width) == (int(size), int(size))
        elif isinstance(enlarged, Border):
            assert enlarged.width == int(size)
        else:
            assert isinstance(enlarged, ScatteredPixels)
            assert enlarged.grain == int(size)


@each_kind
def test_code_runs_as_written(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    for block in blocks(text_of(kind), "python"):
        exec(compile(block, f"{kind}.md", "exec"), names)
    assert names["attack"].kind == kind
    assert np.isfinite(names["crafted"].losses.numpy()).all()


@each_kind
def test_curl_and_command_line_are_valid_requests(kind: str) -> None:
    text = text_of(kind)
    curls, clients = commands(text, "curl"), commands(text, "multav")
    assert curls
    assert clients
    for words in curls:
        forms = dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "-F")
        assert (ROOT / forms["video"].removeprefix("@")).is_file()
        assert AttackRequest.parse(json.loads(forms["spec"])).attack.kind == kind
        assert words[-1].endswith("/v1/attacks")
    for words in clients:
        options = parser().parse_args(words[1:])
        assert (ROOT / options.video).is_file()
        assert AttackRequest.parse(_spec(options)).attack.kind == kind


@each_kind
def test_specifications_in_the_prose_are_valid(kind: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", text_of(kind), flags=re.MULTILINE | re.DOTALL)
    for snippet in re.findall(r"`(\"[a-z_]+\": [^`]+)`", prose):
        fields = json.loads(f"{{{snippet}}}")
        whole = set(fields) & set(AttackRequest.model_fields)
        body = fields if whole else {"attack": {"kind": kind, **fields}}
        if f"`{snippet}` is refused" in prose:
            with pytest.raises(InvalidSpec):
                AttackRequest.parse(body)
        else:
            AttackRequest.parse({"attack": {"kind": kind}} | body)


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(FOLDER.glob("*.md"))], ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path.read_text()):
        target, _, anchor = link.partition("#")
        file = (path.parent / target) if target else path
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link
