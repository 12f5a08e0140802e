"""POST /v1/trainings: a model is trained as a job; its curves while it runs."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from multav.errors import NotFound
from multav.training.curve import CurvePoint
from multav.training.estimate import TrainingEstimate
from multav.training.request import TrainingRequest
from service.attacks import job_answer
from service.context import InContext
from service.inlined_schema import json_body_schema
from service.jobs import read_job
from service.problems import problems
from service.representations import JobView
from service.training_door import accept_training, estimate_training
from service.uploads import json_body
from store import training_points

router = APIRouter(prefix="/v1/trainings", tags=["trainings"])
_EXAMPLE: Final = {
    "name": "camera-motion-hardened",
    "start": {"model": "camera-motion-r3d18"},
    "dataset": "camera-motion-train",
    "attack": {"kind": "multav-linf"},
    "steps": 800,
    "batch_size": 32,
    "optimiser": {"kind": "adamw", "learning_rate": 2e-3},
    "schedule": {"kind": "cosine", "warm_up": 0.2},
    "ramp": 0.4,
}


class Curve(BaseModel):
    """A page of points of a training's curves, in the order in which they came in."""

    items: list[CurvePoint]
    next_cursor: str | None = Field(
        description="continues here, also with what comes in later; null once the training has ended and all is read"
    )


@router.post(
    "",
    operation_id="createTraining",
    summary="Train a model",
    status_code=202,
    response_model=JobView,
    responses={
        200: {"description": "With `dry_run=true`: what the training would cost", "model": TrainingEstimate},
        202: {
            "description": "The job waits or runs; poll `Location`",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **problems(400, 409, 413, 422, 429, 503),
    },
    openapi_extra=json_body_schema(TrainingRequest, _EXAMPLE),
)
async def create_training(
    request: Request,
    context: InContext,
    dry_run: Annotated[bool, Query(description="only answer what it would cost")] = False,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="the same key and request give the same job"),
    ] = None,
) -> Response:
    """Queue a training; the model that it makes is registered under `name`, and audited.

    What does not fit together (classes of the start and the dataset, regions that are larger than the clip, a name that
    is taken) is answered at once. The training goes on from its last checkpoint whatever process dies.
    """
    body = await json_body(request)
    if dry_run:
        cost = await run_in_threadpool(estimate_training, context, body)
        return JSONResponse(cost.model_dump(mode="json"))
    accepted = await run_in_threadpool(accept_training, context, body, idempotency_key)
    job, made = await run_in_threadpool(read_job, context, accepted.subject)
    return job_answer(job, made, 202, {"Idempotent-Replayed": "true"} if accepted.replayed else {})


@router.get(
    "/{job_id}/curve",
    operation_id="listCurve",
    summary="How a training goes",
    responses=problems(404, 422, 503),
)
def list_curve(
    context: InContext,
    job_id: str,
    series: Annotated[
        Literal["step", "look"] | None,
        Query(description="only of the steps, or of the looks at validation clips"),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="how many at most")] = 200,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> Curve:
    """Points in the order in which they came in; go on with `next_cursor` while the training runs.

    A training that was resumed on another device may send points again; of two with the same series and step the later
    counts.
    """
    job, _ = read_job(context, job_id)
    if job.kind != "training":
        raise NotFound(f"job {job_id} is no training: it has no curve")
    with context.database.read() as session:
        page = training_points.listed(session, job_id, series=series, limit=limit, cursor=cursor)
    over = job.finished and len(page.items) < limit
    return Curve(items=list(page.items), next_cursor=None if over else page.next_cursor)
