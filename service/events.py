"""Server-sent events of one job. Between two looks at the row no connection and no thread is held."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from multav.errors import MultavError, NotFound
from multav.training.curve import CurvePoint
from service.context import Context
from service.representations import job_view, moment
from store import artifacts, jobs, training_points
from store.artifacts import Artifact
from store.jobs import Job, JobEvent

_LOOK_SECONDS: Final = 0.3
_PING_SECONDS: Final = 15.0
# A client that is behind a dead connection is not kept for ever; a living one resumes by Last-Event-ID.
_LONGEST_STREAM: Final = 3600.0
_POINTS_AT_ONCE: Final = 500


@dataclass(frozen=True)
class _Look:
    """A job as of one moment, with its transitions, and of a training the points of its curves, since a version.

    `up_to` is the version up to which all of them are there.
    """

    job: Job
    made: tuple[Artifact, ...]
    transitions: list[JobEvent]
    points: list[tuple[int, CurvePoint]]
    up_to: int

    @property
    def is_last(self) -> bool:
        """Whether the job has ended and nothing is left to be told."""
        return self.job.finished and self.up_to >= self.job.version


async def job_events(context: Context, request: Request, job_id: str, after: int) -> AsyncIterator[bytes]:
    """`state` for every transition after version `after`, `progress` when it changed, until the job has ended.

    Of a training also `curve` for every point of its curves.
    """
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
        after = max(after, look.up_to)
        if look.is_last:
            return
        if time.monotonic() - pinged > _PING_SECONDS:
            pinged = time.monotonic()
            yield b": still here\n\n"
        await asyncio.sleep(_LOOK_SECONDS)


def _look(context: Context, job_id: str, after: int) -> _Look:
    with context.database.read() as session:
        job = jobs.get(session, job_id)
        made = artifacts.for_job(session, job_id) if job.finished else ()
        # Not beyond the row as it was read: what comes in meanwhile is the next look's.
        points = (
            training_points.after(session, job_id, after, up_to=job.version, limit=_POINTS_AT_ONCE)
            if job.kind == "training"
            else []
        )
        up_to = points[-1][0] if len(points) == _POINTS_AT_ONCE else job.version
        transitions = [event for event in jobs.events_after(session, job_id, after) if event.version <= up_to]
        return _Look(job, made, transitions, points, up_to)


def _messages(look: _Look, after: int) -> list[bytes]:
    job = look.job
    messages: list[tuple[int, bytes]] = []
    for version, point in look.points:
        messages.append((version, _message("curve", version, asdict(point))))
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
        messages.append((transition.version, _message("state", transition.version, data)))
    # By version, which no two of them share.
    messages.sort(key=lambda each: each[0])
    latest = messages[-1][0] if messages else after
    if look.up_to > latest and job.state == "running" and job.total is not None:
        progress = {"done": job.done, "total": job.total, "unit": job.unit, "eta_seconds": job.eta_seconds}
        messages.append((job.version, _message("progress", job.version, progress)))
    if look.is_last and not look.transitions:
        # Somebody resumed after the last event: say it once more, so that every stream ends with the end.
        final = {"id": job.id, "state": job.state, "job": job_view(job, look.made).model_dump(mode="json")}
        messages.append((job.version, _message("state", job.version, final)))
    return [message for _, message in messages]


def _message(event: str, version: int, data: dict[str, Any]) -> bytes:
    return f"id: {version}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()
