"""Pydantic's findings as JSON pointers with plain sentences."""

from collections.abc import Iterable

from pydantic import ValidationError

from multav.errors import FieldError


def field_errors(error: ValidationError, *, tags: frozenset[str] = frozenset()) -> list[FieldError]:
    """One `FieldError` per finding of `error`; `tags` are discriminator values to leave out of the pointers."""
    found: dict[str, FieldError] = {}
    for finding in error.errors(include_url=False, include_context=False, include_input=False):
        pointer = pointer_of(part for part in finding["loc"] if part not in tags)
        detail = finding["msg"].removeprefix("Value error, ")
        if pointer in found and detail not in found[pointer]["detail"]:
            found[pointer]["detail"] += f"; {detail}"
        else:
            found.setdefault(pointer, FieldError(pointer=pointer, detail=detail))
    return list(found.values())


def pointer_of(parts: Iterable[int | str]) -> str:
    """The JSON pointer (RFC 6901) of a location."""
    return "".join(f"/{_escape(part)}" for part in parts)


def _escape(part: int | str) -> str:
    """One reference token of RFC 6901."""
    return str(part).replace("~", "~0").replace("/", "~1")
