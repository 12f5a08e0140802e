"""Errors that one process tells another, as JSON."""

from typing import Any, Final

from multav.errors import Cancelled, InternalError, Interrupted, MultavError

TellableError = MultavError | Cancelled | Interrupted
TELLABLE: Final = (MultavError, Cancelled, Interrupted)
_STOPS: Final[dict[str, type[Cancelled] | type[Interrupted]]] = {
    "cancelled": Cancelled,
    "interrupted": Interrupted,
}


def to_json(error: TellableError) -> dict[str, Any]:
    """What `from_json` makes the error of."""
    if isinstance(error, MultavError):
        return {"problem": error.code, "detail": error.detail, "errors": list(error.errors)}
    return {"stop": "cancelled" if isinstance(error, Cancelled) else "interrupted"}


def from_json(told: dict[str, Any]) -> TellableError:
    """An error of the same class that says the same; of a class that is not known here an `InternalError`."""
    if "stop" in told:
        return _STOPS[told["stop"]]()
    kind = _by_code(MultavError).get(told["problem"], InternalError)
    return kind(told["detail"], errors=told["errors"])


def _by_code(kind: type[MultavError]) -> dict[str, type[MultavError]]:
    found: dict[str, type[MultavError]] = {kind.code: kind}
    for each in kind.__subclasses__():
        found |= _by_code(each)
    return found
