"""Values on a command line: numbers, and NAME=VALUE, alone and behind a kind."""

import argparse
import json
import math
from typing import Any


def setting(text: str) -> tuple[str, Any]:
    """A name and its value: what JSON makes of the text, else the text itself."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def kind_with_settings(text: str) -> dict[str, Any]:
    """KIND[,NAME=VALUE...]: an object with its `kind`, as {"kind": "pgd-linf", "steps": 20}."""
    kind, *settings = _parts(text)
    return {"kind": kind} | dict(map(setting, settings))


def _parts(text: str) -> list[str]:
    """What stands between the commas that are in no brackets: a value may be a list."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def finite(text: str) -> float:
    """A number; JSON has no other ones than finite."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number")
    return number
