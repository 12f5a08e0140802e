"""Pydantic's findings as JSON pointers with plain sentences."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from multav.errors import FieldError
from multav.names import PATTERNS_IN_WORDS

_IN_WORDS: Final[Mapping[str, str]] = {
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "tuple_type": "must be a list, like [3, 4]",
    "list_type": "must be a list",
}
"""What pydantic says in the words of Python."""


def field_errors(
    error: ValidationError,
    *,
    tags: frozenset[str] = frozenset(),
    hint: Callable[[str], str] = lambda _: "",
) -> list[FieldError]:
    """One `FieldError` per finding of `error`.

    `tags` are discriminator values to leave out of the pointers; `hint` says more of a field that is not known.
    """
    found: dict[str, FieldError] = {}
    findings = error.errors(include_url=False, include_input=False)
    for finding in findings:
        inside = finding["loc"]
        if finding["type"] == "too_short" and any(
            len(other["loc"]) > len(inside) and other["loc"][: len(inside)] == inside for other in findings
        ):
            # Its entries are wrong, and so none of them counted.
            continue
        pointer = pointer_of(part for part in finding["loc"] if part not in tags)
        detail = _in_words(finding, hint)
        if pointer in found and detail not in found[pointer]["detail"]:
            found[pointer]["detail"] += f"; {detail}"
        else:
            found.setdefault(pointer, FieldError(pointer=pointer, detail=detail))
    return list(found.values())


def _in_words(finding: Any, hint: Callable[[str], str]) -> str:
    kind, context = finding["type"], finding.get("ctx", {})
    if kind == "extra_forbidden":
        more = hint(str(finding["loc"][-1]))
        return "there is no such field here" + (f": {more}" if more else "")
    if kind == "union_tag_not_found":
        return f"must say its {str(context['discriminator']).strip(chr(39))}"
    if kind == "union_tag_invalid":
        name = str(context["discriminator"]).strip("'")
        return f"there is no {name} {context['tag']!r}; known are: {context['expected_tags']}"
    if kind == "string_pattern_mismatch" and context["pattern"] in PATTERNS_IN_WORDS:
        return f"must be {PATTERNS_IN_WORDS[context['pattern']]}"
    if kind == "too_short":
        least = context["min_length"]
        return f"must have at least {least} {'entry' if least == 1 else 'entries'}"
    said: str = _IN_WORDS.get(kind) or finding["msg"]
    return said.removeprefix("Value error, ").replace("Input should be", "must be", 1)


def near(field: str, names: Iterable[str]) -> str:
    """Which of `names` look like the unknown `field`, as a question; empty when none does."""
    from difflib import get_close_matches  # loaded only to word an error

    found = get_close_matches(field, sorted(set(names)), n=3, cutoff=0.6)
    return f"is it {' or '.join(found)}?" if found else ""


def pointer_of(parts: Iterable[int | str]) -> str:
    """The JSON pointer (RFC 6901) of a location."""
    return "".join(f"/{_escape(part)}" for part in parts)


def _escape(part: int | str) -> str:
    """One reference token of RFC 6901."""
    return str(part).replace("~", "~0").replace("/", "~1")
