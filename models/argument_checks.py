"""Checks of a builder's arguments: cards come from uploads, so each is held against what is allowed before it is used.

A wrong type is a `TypeError`, a wrong value a `ValueError`; both say what would have been right.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

MOST_CLASSES: Final = 100_000
Choice = TypeVar("Choice", str, int)


def whole_number(name: str, value: Any, *, least: int, most: int) -> int:
    """`value` if it is an int from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r:.60} must be a whole number from {least} to {most}")
    if not least <= value <= most:
        raise ValueError(f"{name}={value!r:.60} must be from {least} to {most}")
    return value


def factor(name: str, value: Any, *, most: float) -> float:
    """`value` as a float if it is a number above 0, at most `most`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r:.60} must be a number above 0 and at most {most:g}")
    # As it is: a whole number may be too large to become a float.
    if not 0 < value <= most:
        raise ValueError(f"{name}={value!r:.60} must be above 0 and at most {most:g}")
    return float(value)


def one_of(name: str, value: Any, choices: Iterable[Choice]) -> Choice:
    """`value` if it is one of `choices`, of their type too (True is not 1)."""
    allowed = list(choices)
    for choice in allowed:
        if type(value) is type(choice) and value == choice:
            return choice
    error = ValueError if type(value) in map(type, allowed) else TypeError
    raise error(f"{name}={value!r:.60} is not one of {_listed(allowed)}")


def flag(name: str, value: Any) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r:.60} must be true or false")
    return value


def class_count(value: Any) -> int:
    """`value` if so many classes may be."""
    return whole_number("classes", value, least=1, most=MOST_CLASSES)


def scaled_widths(widths: Iterable[int], widen_factor: Any, *, most: float = 4) -> list[int]:
    """Each width times `widen_factor`, rounded down."""
    times = factor("widen_factor", widen_factor, most=most)
    scaled = [int(width * times) for width in widths]
    if min(scaled) < 1:
        raise ValueError(f"widen_factor={times:g} leaves no channel")
    return scaled


def _listed(choices: Iterable[object]) -> str:
    return ", ".join(repr(choice) for choice in choices)
