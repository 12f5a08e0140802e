"""NAME=VALUE on a command line, alone and behind a kind."""

import argparse
import json
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
    kind, *settings = text.split(",")
    return {"kind": kind} | dict(map(setting, settings))
