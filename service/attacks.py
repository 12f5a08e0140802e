"""POST /v1/attacks: a video in, a job or the adversarial video out."""

import asyncio
import re
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from multav.attack_request import AttackRequest
from multav.errors import MalformedRequest
from service.content import Content, content_response
from service.context import Context, InContext
from service.door import accept_attack
from service.inlined_schema import inline
from service.jobs import job_headers, read_job
from service.problems import problems, stored_problem_response
from service.representations import JobView
from service.uploads import submission
from store.artifacts import Artifact
from store.jobs import Job

router = APIRouter(prefix="/v1", tags=["attacks"])

_LONGEST_WAIT: Final = 600.0
_WAIT: Final = re.compile(r"^wait(?:\s*=\s*\"?(\d{1,6})\"?)?$")
_SPEC_EXAMPLE: Final = {"attack": {"kind": "multav-linf", "epsilon": 1.04, "step_size": 1.01, "steps": 5}}


def _request_body() -> dict[str, Any]:
    """The OpenAPI of both bodies."""
    spec = AttackRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = spec.pop("$defs", {})
    with_video = {
        **spec,
        "properties": {
            **spec["properties"],
            "video": {"type": "string", "description": "id of an uploaded video"},
        },
        "required": ["video"],
    }
    inlined = {"spec": inline(spec, definitions), "with_video": inline(with_video, definitions)}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["video"],
                        "properties": {
                            "video": {"type": "string", "format": "binary", "description": "the video file"},
                            "spec": inlined["spec"],
                        },
                    },
                    "encoding": {"spec": {"contentType": "application/json"}},
                    "example": {"video": "(bytes)", "spec": _SPEC_EXAMPLE},
                },
                "application/json": {
                    "schema": inlined["with_video"],
                    "example": {"video": "0123456789abcdef0123456789abcdef", **_SPEC_EXAMPLE},
                },
            },
        }
    }


@router.post(
    "/attacks",
    operation_id="createAttack",
    summary="Attack a video",
    status_code=202,
    response_model=JobView,
    responses={
        200: {
            "description": "With `Prefer: wait`: the finished job, or with `Accept: video/*` the adversarial video",
            "model": JobView,
            "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
        },
        202: {
            "description": "The job waits or runs; poll `Location`",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **problems(400, 404, 413, 415, 422, 429, 503),
    },
    openapi_extra=_request_body(),
)
async def create_attack(
    request: Request,
    context: InContext,
    prefer: Annotated[
        list[str] | None, Header(description="`wait=N`: answer when the job has ended, at most N s")
    ] = None,
    accept: Annotated[
        str | None, Header(description="`video/*`: answer the adversarial video's bytes")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="the same key and request give the same job"),
    ] = None,
) -> Response:
    """Queue an attack on the posted video (or on an uploaded one) and answer the job.

    The video is probed before anything is accepted; what is wrong with it or with the specification is answered
    at once.
    """
    wait = wait_seconds(prefer or [])
    async with submission(request) as sent:
        accepted = await run_in_threadpool(accept_attack, context, sent, idempotency_key)
    headers = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
    job, made = await run_in_threadpool(read_job, context, accepted.subject)
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait:.0f}"
        job, made = await wait_for(context, job, made, wait)
    if not job.finished:
        return job_answer(job, made, 202, headers)
    if wait is None:
        # A repeated request whose job has ended is answered as the first one was.
        return job_answer(job, made, 202, headers)
    if wants_video(accept):
        video = next((artifact for artifact in made if artifact.role == "adversarial-video"), None)
        if job.state == "succeeded" and video is not None:
            headers |= {"Link": f'</v1/jobs/{job.id}>; rel="describedby"', "Location": f"/v1/jobs/{job.id}"}
            content = Content(video.blob_id, video.sha256, video.bytes, video.filename, video.media_type)
            return content_response(context.database, content, request, extra=headers)
        if job.problem is not None and not accepts_json(accept):
            return stored_problem_response(job.problem)
    return job_answer(job, made, 200, headers)


async def wait_for(
    context: Context, job: Job, made: tuple[Artifact, ...], seconds: float
) -> tuple[Job, tuple[Artifact, ...]]:
    """The job once it has ended, or as it is after `seconds`; waiting holds no thread and no connection."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not job.finished and time.monotonic() < deadline:
        await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(0.06, pause * 1.3)
        job, made = await run_in_threadpool(read_job, context, job.id)
    return job, made


def wait_seconds(prefer: list[str]) -> float | None:
    """What `Prefer: wait[=N]` asks for (RFC 7240), capped; None without it."""
    for header in prefer:
        for preference in header.split(","):
            name = preference.partition(";")[0].strip().lower()
            if name.partition("=")[0].strip() != "wait":
                continue
            found = _WAIT.match(name)
            if found is None:
                raise MalformedRequest(f"Prefer: {name!r} is not understood: write wait=N with whole seconds")
            return min(_LONGEST_WAIT, float(found[1])) if found[1] else _LONGEST_WAIT
    return None


def wants_video(accept: str | None) -> bool:
    """Whether the client asks for a video's bytes."""
    return any(kind.startswith("video/") for kind in _accepted(accept))


def accepts_json(accept: str | None) -> bool:
    """Whether the client also takes JSON by name."""
    return any(
        kind in ("application/json", "application/*", "application/problem+json")
        for kind in _accepted(accept)
    )


def _accepted(accept: str | None) -> list[str]:
    """Media types of an Accept header, without those of quality 0."""
    kinds = []
    for part in (accept or "").split(","):
        kind, _, parameters = part.partition(";")
        if not re.search(r"q\s*=\s*0(\.0*)?\s*$", parameters):
            kinds.append(kind.strip().lower())
    return kinds


def job_answer(job: Job, made: tuple[Artifact, ...], status: int, headers: dict[str, str]) -> Response:
    """The job as JSON with its headers."""
    from service.representations import job_view

    return JSONResponse(
        job_view(job, made).model_dump(mode="json"),
        status_code=status,
        headers={**job_headers(job), "Location": f"/v1/jobs/{job.id}", **headers},
    )
