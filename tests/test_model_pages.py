"""docs/models/: the links lead somewhere, the code runs, the requests are valid."""

import json
import re
from pathlib import Path

import pytest

from multav.attack_request import AttackRequest
from multav.cli_options import parser
from multav.model_commands import upload_spec
from multav.model_upload import ModelUpload
from tests.markdown import blocks, commands

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "models"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", prose):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_code_of_the_first_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks((FOLDER / "README.md").read_text(), "python")
    exec(compile(code, "docs/models/README.md", "exec"), {})
    assert (tmp_path / "features.png").stat().st_size > 0


def test_what_is_posted_is_valid() -> None:
    (curl,) = commands((FOLDER / "README.md").read_text(), "curl")
    (spec,) = [word.removeprefix("spec=") for word in curl if word.startswith("spec=")]
    assert AttackRequest.parse(json.loads(spec)).features == ("layer1", "layer2", "layer3", "layer4")
    given = [
        parser().parse_args(words[1:]) for words in commands((FOLDER / "README.md").read_text(), "multav")
    ]
    assert ["layer1", "layer2", "layer3", "layer4"] in [
        getattr(options, "features", None) for options in given
    ]


def test_what_the_pages_say_of_a_checkpoint_is_valid() -> None:
    said = [
        upload_spec(parser().parse_args(words[1:]))
        for page in PAGES
        for words in commands(page.read_text(), "multav")
        if words[1:3] == ["models", "import"] and "names.txt" not in words
    ]
    assert len(said) >= 2
    for spec in said:
        ModelUpload.parse(spec)
