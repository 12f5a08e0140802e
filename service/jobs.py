"""/v1/jobs: what became of a job; cancel it, delete it, follow it."""

import re
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from multav.errors import NotFound
from service.content import matches
from service.context import Context, InContext
from service.events import job_events
from service.paging import Cursor, Limit
from service.problems import problems
from service.representations import ArtifactView, JobView, artifact_view, job_view
from service.resume_door import accept_resume
from store import artifacts, jobs
from store.artifacts import Artifact
from store.jobs import Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
# A request sends so many at most, and stops where the broker takes no more; the sweeper sends the others.
_MOST_MESSAGES: Final = 100
_EVENT_ID: Final = re.compile(r"^[0-9]{1,9}$")

State = Annotated[
    Literal["queued", "running", "succeeded", "failed", "cancelled"] | None, Query(description="only these")
]
Kind = Annotated[Literal["attack", "audit", "training", "scan"] | None, Query(description="only these")]


class JobList(BaseModel):
    """A page of jobs, newest first."""

    items: list[JobView]
    next_cursor: str | None


class ArtifactList(BaseModel):
    """What a job made."""

    items: list[ArtifactView]
    next_cursor: str | None


def read_job(context: Context, job_id: str) -> tuple[Job, tuple[Artifact, ...]]:
    """The job and what it made, as of one moment. Raises `NotFound`."""
    with context.database.read() as session:
        job = jobs.get(session, job_id)
        if job.parent_id is not None:
            raise NotFound(f"there is no job {job_id!r}: it is a part of job {job.parent_id}")
        return job, artifacts.for_job(session, job_id) if job.finished else ()


def job_headers(job: Job) -> dict[str, str]:
    """ETag, and while the job has not ended when to ask again."""
    headers = {"ETag": f'"{job.id}.{job.version}"', "Cache-Control": "no-cache"}
    if not job.finished:
        rest = job.eta_seconds if job.eta_seconds is not None else 1.0
        headers["Retry-After"] = str(min(10, max(1, round(rest / 4))))
    return headers


@router.get("", operation_id="listJobs", summary="List jobs", responses=problems(422, 503))
def list_jobs(
    context: InContext,
    state: State = None,
    kind: Kind = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobList:
    """Jobs, newest first."""
    with context.database.read() as session:
        page = jobs.listed(session, state=state, kind=kind, limit=limit, cursor=cursor)
        items = [
            job_view(job, artifacts.for_job(session, job.id) if job.finished else ()) for job in page.items
        ]
    return JobList(items=items, next_cursor=page.next_cursor)


@router.get(
    "/{job_id}",
    operation_id="getJob",
    summary="Poll a job",
    response_model=JobView,
    responses={304: {"description": "Nothing has changed since `If-None-Match`"}, **problems(404, 503)},
)
def get_job(
    context: InContext, job_id: str, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """The job as it is now; `ETag` and `If-None-Match` make polling cheap, `Retry-After` says how often."""
    job, made = read_job(context, job_id)
    headers = job_headers(job)
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return JSONResponse(job_view(job, made).model_dump(mode="json"), headers=headers)


@router.delete(
    "/{job_id}",
    operation_id="deleteJob",
    summary="Delete a finished job",
    status_code=204,
    responses=problems(404, 409, 503),
)
def delete_job(context: InContext, job_id: str) -> Response:
    """Delete a finished job, its artifacts, and the video that came with it."""
    read_job(context, job_id)
    with context.database.write() as session:
        jobs.remove(session, job_id)
    return Response(status_code=204)


@router.post(
    "/{job_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    status_code=202,
    response_model=JobView,
    responses=problems(404, 503),
)
def cancel_job(context: InContext, job_id: str) -> Response:
    """Ask the job to stop. A queued job is cancelled at once, a running one within an attack step.

    Asking again, or for a job that has ended, changes nothing.
    """
    read_job(context, job_id)
    with context.database.write() as session:
        jobs.request_cancel(session, job_id)
    return _changed(context, job_id)


@router.post(
    "/{job_id}/pause",
    operation_id="pauseJob",
    summary="Pause a job",
    status_code=202,
    response_model=JobView,
    responses=problems(404, 409, 503),
)
def pause_job(context: InContext, job_id: str) -> Response:
    """Let the job rest: what it has done is kept, its workers go on to other work. `resume` lets it go on.

    An audit loses at most the clips in flight, a training the step in flight; an attack begins again when it is
    resumed.
    """
    read_job(context, job_id)
    with context.database.write() as session:
        jobs.pause(session, job_id)
    return _changed(context, job_id)


@router.post(
    "/{job_id}/resume",
    operation_id="resumeJob",
    summary="Resume a job",
    status_code=202,
    response_model=JobView,
    responses=problems(404, 409, 429, 503),
)
def resume_job(context: InContext, job_id: str) -> Response:
    """Let a paused job go on, or run one again that failed or was cancelled.

    An audit does only what is missing, and a training goes on from its last checkpoint. What could not come to a good
    end is answered at once (409): a model or dataset that the job needs was deleted or replaced, or another model has
    the name of the one that a training makes.
    """
    read_job(context, job_id)
    for each, kind in accept_resume(context, job_id, _MOST_MESSAGES).items():
        if not context.queue.nudge(each, kind):
            break
    return _changed(context, job_id)


def _changed(context: Context, job_id: str) -> Response:
    job, made = read_job(context, job_id)
    return JSONResponse(
        job_view(job, made).model_dump(mode="json"), status_code=202, headers=job_headers(job)
    )


@router.get(
    "/{job_id}/artifacts",
    operation_id="listJobArtifacts",
    summary="What a job made",
    responses=problems(404, 503),
)
def list_artifacts(context: InContext, job_id: str) -> ArtifactList:
    """The files that a succeeded job made; of a cancelled or diverged training its last checkpoint, as a model."""
    _, made = read_job(context, job_id)
    return ArtifactList(items=[artifact_view(artifact) for artifact in made], next_cursor=None)


@router.get(
    "/{job_id}/events",
    operation_id="followJob",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events `state` and `progress`, of a training also `curve`; the last one is the "
            "terminal state",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(404, 503),
    },
)
def follow_job(
    request: Request,
    context: InContext,
    job_id: str,
    last_event_id: Annotated[str | None, Header(description="continue after this event")] = None,
) -> StreamingResponse:
    """Server-sent events until the job has ended. `id` is the job's version; `Last-Event-ID` resumes."""
    read_job(context, job_id)
    after = int(last_event_id) if last_event_id is not None and _EVENT_ID.match(last_event_id) else 0
    return StreamingResponse(
        job_events(context, request, job_id, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )
