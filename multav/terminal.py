"""Where commands print: coloured in a terminal, and never broken into lines when read by something else."""

from rich.console import Console

# Wider than any table: what is piped keeps each row on one line.
_PIPED_WIDTH = 10_000


def terminal(*, stderr: bool = False) -> Console:
    """A console whose long lines are left to the terminal to wrap, so that they can be copied whole."""
    console = Console(highlight=False, emoji=False, soft_wrap=True, stderr=stderr)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    return console
