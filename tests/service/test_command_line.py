"""`python -m service`: what cannot work is said at the start, not by every request."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(tmp_path: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MULTAV_")}
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments, "--data-dir", str(tmp_path)],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("part", ["api", "worker", "sweeper"])
def test_a_part_alone_needs_a_queue_and_a_schema(part: str, tmp_path: Path) -> None:
    ended = run(tmp_path, part)
    assert ended.returncode == 1
    assert "MULTAV_BROKER_URL" in ended.stderr
    ended = run(tmp_path, part, MULTAV_BROKER_URL="redis://127.0.0.1:1/0")
    assert ended.returncode == 1
    assert "python -m service migrate" in ended.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MULTAV_DEFAULT_MODEL": "zzz"}, "MULTAV_DEFAULT_MODEL=zzz: there is no model 'zzz'"),
        ({"MULTAV_DATABASE_URL": "mysql://x"}, "MULTAV_DATABASE_URL: Value error, not a database"),
        ({"MULTAV_PORT": "abc"}, "MULTAV_PORT"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(settings: dict[str, str], message: str, tmp_path: Path) -> None:
    ended = run(tmp_path, "migrate", **settings)
    assert ended.returncode != 0
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_misspelt_setting_is_mentioned(tmp_path: Path) -> None:
    ended = run(tmp_path, "settings", MULTAV_PRT="9")
    assert ended.returncode == 0
    assert "MULTAV_PRT is not a setting" in ended.stderr
