"""The paths that a user names: checked before any work is done for them."""

import json
from pathlib import Path
from typing import Any


def existing_file(path: Path | str) -> Path:
    """`path` itself, once it is known to be a file.

    Raises `FileNotFoundError` or `IsADirectoryError`, each with a message for the user.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name one file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    return path


def usable_folder(path: Path | str) -> Path:
    """`path` itself, once it is known that it is or can become a folder. Raises `NotADirectoryError`."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file: name a folder for what is made")
    return path


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in the file. Raises `OSError`, and `ValueError` for anything else."""
    body = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(body, dict):
        raise ValueError(f"{path} holds no JSON object")
    return body
