"""Class names of well-known data sets, in the order of published checkpoints (`class_lists/README.md`). Torch-free."""

from functools import cache
from pathlib import Path
from typing import Final

CLASSES_OF: Final = {"ucf101": 101, "hmdb51": 51, "kinetics400": 400}
"""How many classes each list has."""


@cache
def class_list(name: str) -> tuple[str, ...]:
    """The class names of a key of `CLASSES_OF`."""
    if name not in CLASSES_OF:
        raise KeyError(name)
    path = Path(__file__).parent / "class_lists" / f"{name}.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines())


def list_of_size(classes: int) -> str | None:
    """The name of the only known list with so many classes."""
    return next((name for name, size in CLASSES_OF.items() if size == classes), None)


def numbered(classes: int) -> tuple[str, ...]:
    """Names that say nothing: class 0, class 1, ..."""
    return tuple(f"class {index}" for index in range(classes))
