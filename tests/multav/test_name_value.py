"""Values as they are written on a command line."""

import argparse
from typing import Any

import pytest

from multav.name_value import finite, kind_with_settings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pgd-linf", {"kind": "pgd-linf"}),
        (
            "multistep,milestones=[3,4],warm_up=0.1",
            {"kind": "multistep", "milestones": [3, 4], "warm_up": 0.1},
        ),
        ("roa,size=[11, 11],steps=1", {"kind": "roa", "size": [11, 11], "steps": 1}),
        ("spa,init=clean", {"kind": "spa", "init": "clean"}),
    ],
)
def test_a_kind_and_its_settings(text: str, value: dict[str, Any]) -> None:
    assert kind_with_settings(text) == value


@pytest.mark.parametrize("text", ["roa,steps", "roa,=1", "roa,"])
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=VALUE"):
        kind_with_settings(text)


def test_numbers_are_finite() -> None:
    assert finite("1e-3") == 1e-3
    for text in ("nan", "inf", "-inf"):
        with pytest.raises(argparse.ArgumentTypeError, match="no finite number"):
            finite(text)
