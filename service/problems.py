"""Every error as RFC 9457 problem+json; no trace ever leaves the process."""

import errno
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from multav.errors import (
    DependencyDown,
    FieldError,
    InternalError,
    InvalidSpec,
    MalformedRequest,
    MultavError,
    QueueFull,
)
from multav.validation import pointer_of

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 5
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "upload_too_large",
    415: "unsupported_media_type",
}


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None


class ProblemResponse(JSONResponse):
    """A JSON answer of type application/problem+json."""

    media_type = "application/problem+json"


def problem_response(error: MultavError) -> ProblemResponse:
    """The answer that says `error`."""
    headers = {"Retry-After": str(_RETRY_SECONDS)} if isinstance(error, DependencyDown | QueueFull) else None
    return ProblemResponse(error.problem(), status_code=error.status, headers=headers)


def stored_problem_response(problem: Mapping[str, Any]) -> ProblemResponse:
    """The answer that says the problem of a failed job."""
    return ProblemResponse(dict(problem), status_code=int(problem.get("status", 500)))


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""

    @app.exception_handler(MultavError)
    def refused(_: Request, error: MultavError) -> ProblemResponse:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> ProblemResponse:
        # The first part of a location says where the value was: query, path, header or body.
        errors = [
            FieldError(pointer=pointer_of(found["loc"][1:]), detail=str(found["msg"]))
            for found in error.errors()
        ]
        return problem_response(
            InvalidSpec("; ".join(f"{e['pointer']}: {e['detail']}" for e in errors), errors=errors)
        )

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> ProblemResponse:
        code = _CODES.get(error.status_code, f"http_{error.status_code}")
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"there is nothing at {request.url.path}: /openapi.json lists what is"
        if error.status_code == 405:
            detail = f"{request.method} is not allowed at {request.url.path}"
        body = {
            "type": f"urn:multav:problem:{code.replace('_', '-')}",
            "title": code.replace("_", " ").capitalize(),
            "status": error.status_code,
            "code": code,
            "detail": detail,
        }
        return ProblemResponse(body, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    def gone(_: Request, __: ClientDisconnect) -> ProblemResponse:
        return problem_response(MalformedRequest("the connection was closed before the body had ended"))

    @app.exception_handler(OSError)
    def full(request: Request, error: OSError) -> ProblemResponse:
        if error.errno not in _NO_ROOM:
            return defect(request, error)
        _log.error("%s %s: %s", request.method, request.url.path, error)
        return problem_response(
            DependencyDown(
                "the server has no room for this file on its disk: try again later, or a smaller one"
            )
        )

    @app.exception_handler(Exception)
    def defect(request: Request, error: Exception) -> ProblemResponse:
        incident = uuid.uuid4().hex[:12]
        _log.error("incident %s at %s %s", incident, request.method, request.url.path, exc_info=error)
        return problem_response(
            InternalError(f"the service met a defect; its log has the details under {incident}")
        )


_TITLES = {
    400: "The request cannot be read",
    404: "No such thing",
    409: "The state of the thing forbids it",
    413: "Too large",
    415: "Not a file of a kind that is read here",
    416: "The range is not within the bytes",
    422: "A field is not valid; `errors` points at it",
    429: "The queue is full",
    503: "A dependency is down",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of a route that may refuse with `statuses`."""
    return {
        status: {
            "description": _TITLES[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
