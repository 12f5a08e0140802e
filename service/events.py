"""Server-sent events of one job. Between two looks at the row no connection and no thread is held."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from multav.errors import MultavError, NotFound
from service.context import Context
from service.representations import job_view, moment
from store import artifacts, jobs
from store.artifacts import Artifact
from store.jobs import Job, JobEvent

_LOOK_SECONDS: Final = 0.3
_PING_SECONDS: Final = 15.0
# A client that is behind a dead connection is not kept for ever; a living one resumes by Last-Event-ID.
_LONGEST_STREAM: Final = 3600.0


@dataclass(frozen=True)
class _Look:
    """A job as of one moment, with its transitions since a version."""

    job: Job
    made: tuple[Artifact, ...]
    transitions: list[JobEvent]


async def job_events(context: Context, request: Request, job_id: str, after: int) -> AsyncIterator[bytes]:
    """`state` for every transition after version `after`, `progress` when it changed, until the job has ended."""
    opened = pinged = time.monotonic()
    yield b"retry: 1000\n\n"
    while time.monotonic() - opened < _LONGEST_STREAM and not await request.is_disconnected():
        try:
            look = await run_in_threadpool(_look, context, job_id, after)
        except NotFound:
            return
        except MultavError:
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        for message in _messages(look, after):
            yield message
            pinged = time.monotonic()
        after = max(after, look.job.version)
        if look.job.finished:
            return
        if time.monotonic() - pinged > _PING_SECONDS:
            pinged = time.monotonic()
            yield b": still here\n\n"
        await asyncio.sleep(_LOOK_SECONDS)


def _look(context: Context, job_id: str, after: int) -> _Look:
    with context.database.read() as session:
        job = jobs.get(session, job_id)
        made = artifacts.for_job(session, job_id) if job.state == "succeeded" else ()
        return _Look(job, made, jobs.events_after(session, job_id, after))


def _messages(look: _Look, after: int) -> list[bytes]:
    job = look.job
    messages = []
    for transition in look.transitions:
        data: dict[str, Any] = {
            "id": job.id,
            "state": transition.state,
            "cause": transition.cause,
            "attempt": transition.attempt,
            "at": moment(transition.at).isoformat(),
        }
        if transition is look.transitions[-1]:
            data["job"] = job_view(job, look.made).model_dump(mode="json")
        messages.append(_message("state", transition.version, data))
    latest = look.transitions[-1].version if look.transitions else after
    if job.version > latest and job.state == "running" and job.total is not None:
        progress = {"done": job.done, "total": job.total, "unit": job.unit, "eta_seconds": job.eta_seconds}
        messages.append(_message("progress", job.version, progress))
    if job.finished and not look.transitions:
        # Somebody resumed after the last event: say it once more, so that every stream ends with the end.
        final = {"id": job.id, "state": job.state, "job": job_view(job, look.made).model_dump(mode="json")}
        messages.append(_message("state", job.version, final))
    return messages


def _message(event: str, version: int, data: dict[str, Any]) -> bytes:
    return f"id: {version}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()
