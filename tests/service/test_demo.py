"""`python -m service.demo` refuses wrong options before it starts anything."""

from pathlib import Path

import pytest

from service import demo


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--video", "nope.mp4"], "there is no file nope.mp4"),
        (["--video", "."], "is a folder"),
        (["--output", __file__], "is a file"),
        (["--spec", "{bad"], "--spec is not JSON"),
        (["--spec", "[1]"], "must be a JSON object"),
        (["--spec", '{"attack": {"kind": "nope"}}'], "multav-linf"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_service", lambda _: pytest.fail("the service was started"))
    assert demo.main(arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
