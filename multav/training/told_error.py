"""Errors that one process tells another, as JSON."""

from typing import Any, Final

from multav import errors
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
    kind = _BY_CODE.get(told["problem"], InternalError)
    return kind(told["detail"], errors=told["errors"])


def of_host(error: MultavError, address: str) -> TellableError:
    """The same error, that says on which host it came up."""
    return from_json(to_json(error) | {"detail": f"on host {address}: {error.detail}"})


def from_problem(problem: dict[str, Any]) -> MultavError:
    """As `from_json`, of the problem object of a failed job."""
    kind = _BY_CODE.get(problem["code"], InternalError)
    return kind(problem["detail"], errors=problem.get("errors", ()))


# Of that module alone: subclasses elsewhere share codes, and are made in other ways.
_BY_CODE: Final[dict[str, type[MultavError]]] = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, MultavError) and each is not MultavError
}
