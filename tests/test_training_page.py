"""docs/trainings.md: links lead somewhere, requests and commands are valid, every field is there."""

import json
import re
from pathlib import Path

from multav.cli_options import parser
from multav.training.request import TrainingRequest
from multav.training_options import training_spec
from tests.markdown import blocks, commands

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "trainings.md"


def test_links_lead_somewhere() -> None:
    prose = re.sub(r"^```.*?^```$", "", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", prose):
        assert (PAGE.parent / target).exists(), target


def test_what_is_posted_is_valid_and_what_the_command_sends() -> None:
    (block,) = [block for block in blocks(PAGE.read_text(), "sh") if "v1/trainings -d" in block]
    (body,) = re.findall(r"-d '(.*?)'", block, flags=re.DOTALL)
    posted = TrainingRequest.parse(json.loads(body))
    first = parser().parse_args(commands(PAGE.read_text(), "multav")[0][1:])
    sent = TrainingRequest.parse(training_spec(first))
    start = posted.start.model_copy(update={"model": None})
    assert posted.model_copy(update={"start": start}) == sent, "the default model, by its name"
    (paper,) = blocks(PAGE.read_text(), "json")
    assert TrainingRequest.parse(json.loads(paper)).optimiser == TrainingRequest().optimiser


def test_commands_are_understood() -> None:
    for page in (PAGE, ROOT / "README.md"):
        trained = [words for words in commands(page.read_text(), "multav") if words[1] == "train"]
        assert trained
        for words in trained:
            options = parser().parse_args(words[1:])
            if options.spec is None:
                TrainingRequest.parse(training_spec(options))


def test_every_field_is_explained() -> None:
    text = PAGE.read_text()
    pinned = {"dataset_sha256"}
    assert [name for name in set(TrainingRequest.model_fields) - pinned if f"`{name}`" not in text] == []
