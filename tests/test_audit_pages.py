"""docs/audits.md, datasets.md, doubts.md and reports.md: links lead somewhere, requests and commands are valid."""

import json
import re
from pathlib import Path

import pytest

from multav.audit_options import audit_spec
from multav.audits.examination import DOUBTS
from multav.audits.request import AuditRequest
from multav.cli_options import parser
from multav.datasets.catalogue import DATASETS, parse_dataset
from tests.markdown import blocks, commands

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "docs" / name for name in ("audits.md", "datasets.md", "doubts.md", "reports.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", prose):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_what_is_posted_is_valid() -> None:
    (block,) = [block for block in blocks(PAGES[0].read_text(), "sh") if "v1/audits -d" in block]
    (body,) = re.findall(r"-d '(.*?)'", block, flags=re.DOTALL)
    assert len(AuditRequest.parse(json.loads(body)).cells) == 6


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_commands_are_understood(page: Path) -> None:
    for words in commands(page.read_text(), "multav"):
        if words[1:3] == ["models", "import"]:
            # Its list of class names is a file of the reader's.
            continue
        options = parser().parse_args(words[1:])
        if options.command == "audit" and options.from_manifest is None:
            AuditRequest.parse(audit_spec(options))


def test_every_field_of_an_audit_is_explained() -> None:
    text = PAGES[0].read_text()
    pinned = {"model_sha256", "dataset_sha256"}
    assert [name for name in set(AuditRequest.model_fields) - pinned if f"`{name}`" not in text] == []


def test_every_kind_of_dataset_has_an_example() -> None:
    specs = [parse_dataset(json.loads(block)) for block in blocks(PAGES[1].read_text(), "json")]
    assert {spec.kind for spec in specs} == set(DATASETS)


def test_every_doubt_is_explained() -> None:
    text = PAGES[2].read_text().lower()
    assert [name for name in DOUBTS if name.replace("_", " ") not in text] == []
