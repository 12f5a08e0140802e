"""What the exit codes of the `multav` command mean, for the help of each subcommand."""

from collections.abc import Mapping
from typing import Final

INTERRUPTED: Final = 130
"""After Ctrl-C, as shells have it."""

_USUAL: Final[Mapping[int, str]] = {0: "done", 1: "refused or failed", 2: "wrong usage"}
_LAST: Final[Mapping[int, str]] = {INTERRUPTED: "broken off (Ctrl-C)"}


def exit_codes(own: Mapping[int, str] | None = None) -> str:
    """The line for a command, whose `own` meanings count before the usual ones."""
    codes = {**_USUAL, **(own or {}), **_LAST}
    return "exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in codes.items())
