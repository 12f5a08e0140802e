"""Ids and names of any letters on a command line: refused in a line by the service, never a traceback."""

from pathlib import Path
from typing import Any

import pytest

from multav import cli

ODD = [
    "abc\nd",
    "a b",
    "a/b",
    "../models",
    ".",
    "..",
    "",
    "?limit=1",
    "#",
    "%41",
    "%",
    "ä☃",
    "\udcff",
    "[red]",
    "a\tb",
]
ADDRESSED = [
    ["job"],
    ["wait"],
    ["cancel"],
    ["pause"],
    ["resume"],
    ["models", "show"],
    ["models", "delete"],
    ["datasets", "show"],
    ["datasets", "scan"],
    ["datasets", "delete"],
]


def said(service: Any, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(["--server", str(service.client.base_url), *words])
    told = capsys.readouterr()
    assert not told.out
    return code, told.err


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_what_is_not_there_is_said_in_a_line(
    service: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for words in ADDRESSED:
        code, line = said(service, capsys, *words, "--", name)
        assert code == 1, words
        assert line.count("\n") == 1, (words, line)


def test_names_that_are_sent(service: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("abc\nd", "My videos", ""):
        for words in (["datasets", "add", name, "--kind", "synthetic"], ["train", f"--name={name}"]):
            code, line = said(service, capsys, *words)
            assert code == 1
            assert line.count("\n") == 1
            assert "/name: must be 1 to 100 small letters, digits" in line
    no_text = "\udcff"
    for words in (["datasets", "add", no_text, "--kind", "synthetic"], ["train", f"--name={no_text}"]):
        code, line = said(service, capsys, *words)
        assert code == 2
        assert line.count("\n") == 1
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"")
    code, line = said(service, capsys, "attack", str(video), f"--model={no_text}")
    assert code == 1
    assert line.count("\n") == 1
