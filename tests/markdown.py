"""What documents show: their blocks of code, and the commands in them."""

import re
import shlex


def blocks(text: str, language: str) -> list[str]:
    """The blocks of one language in the text of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str, program: str) -> list[list[str]]:
    """The shell commands of a page that start `program`, as lists of words."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    # Others may hold a quotation of several lines.
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]
