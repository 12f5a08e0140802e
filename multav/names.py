"""Names that users give to models, datasets and versions: what they may be, as patterns and in words."""

from collections.abc import Mapping
from typing import Final

LONGEST_NAME: Final = 100

NAME: Final = rf"^[a-z0-9][a-z0-9._-]{{0,{LONGEST_NAME - 1}}}$"
"""Of a model or a dataset: a part of the path that requests call it by."""

NAME_IN_WORDS: Final = (
    f"1 to {LONGEST_NAME} small letters, digits, '.', '_' and '-', of which the first is a letter or a digit"
)

VERSION: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,49}$"
"""Of a model: stands behind its name in the same path."""

PATTERNS_IN_WORDS: Final[Mapping[str, str]] = {
    NAME: NAME_IN_WORDS,
    VERSION: "1 to 50 letters, digits, '.', '_', '+' and '-', of which the first is a letter or a digit",
    r"^[A-Za-z_][A-Za-z0-9_]{0,99}$": "1 to 100 letters, digits and '_', of which the first is no digit",
    "^[0-9a-f]{64}$": "a SHA-256: 64 digits from 0 to 9 and a to f",
}
"""What may be written where a field must match a pattern."""
