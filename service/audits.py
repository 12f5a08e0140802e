"""POST /v1/audits: a robustness audit as a job; its outcomes while it runs."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from multav.audits.estimate import AuditEstimate
from multav.audits.outcome import Outcome
from multav.audits.request import AuditRequest
from multav.errors import NotFound
from service.attacks import job_answer
from service.audit_door import accept_audit, estimate_audit
from service.context import InContext
from service.inlined_schema import json_body_schema
from service.jobs import read_job
from service.problems import problems
from service.representations import JobView
from service.uploads import json_body
from store import outcomes
from store.outcomes import AuditClip

router = APIRouter(prefix="/v1/audits", tags=["audits"])
_EXAMPLE: Final = {
    "models": ["camera-motion-r3d18"],
    "dataset": "camera-motion",
    "subset": {"count": 100},
    "attacks": [{"kind": "multav-linf"}, {"kind": "pgd-linf"}],
    "epsilons": {"multav-linf": [1.01, 1.02, 1.04], "pgd-linf": [0.004, 0.008, 0.016]},
}


class OutcomeView(BaseModel):
    """What is known of one clip: one model, one attack at one epsilon (`cell`)."""

    model: str
    cell: str
    tested_on: str
    clip: int = Field(description="index of the video in the dataset's listing")
    video: str = Field(description="path of the video within its dataset")
    group: str = Field(
        description="videos of one group were cut from the same source: they are not independent"
    )
    label: int
    clean: int | None
    clean_confidence: float | None
    predicted: int | None
    confidence: float | None
    attacked: bool = Field(description="false where the clean clip was misjudged already")
    loss_start: float | None
    loss_end: float | None
    size: float | None = Field(
        description="largest ratio of multiplicative attacks, largest difference of others"
    )
    l2: float | None
    changed: float | None = Field(description="share of the pixels that differ")
    epsilon: float | None = Field(
        description="smallest bound that fools the model, in cells that look for it"
    )
    gradients: int
    seconds: float
    problem: str | None = Field(description="why the video gave no clip")


class OutcomeList(BaseModel):
    """A page of outcomes, in the order in which they came in."""

    items: list[OutcomeView]
    next_cursor: str | None = Field(
        description="continues here, also with what comes in later; null once the audit has ended and all is read"
    )


@router.post(
    "",
    operation_id="createAudit",
    summary="Audit models",
    status_code=202,
    response_model=JobView,
    responses={
        200: {"description": "With `dry_run=true`: what the audit would cost", "model": AuditEstimate},
        202: {
            "description": "The job waits or runs; poll `Location`",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **problems(400, 413, 422, 429, 503),
    },
    openapi_extra=json_body_schema(AuditRequest, _EXAMPLE),
)
async def create_audit(
    request: Request,
    context: InContext,
    dry_run: Annotated[bool, Query(description="only answer what it would cost")] = False,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="the same key and request give the same job"),
    ] = None,
) -> Response:
    """Queue an audit: every model meets every attack at every epsilon on the same videos.

    What does not fit together (models and dataset that know other classes, bounds that make no sense) is answered at
    once. Outcomes can be read while the audit runs; it survives the death of any process, and never counts a clip
    twice.
    """
    body = await json_body(request)
    if dry_run:
        cost = await run_in_threadpool(estimate_audit, context, body)
        return JSONResponse(cost.model_dump(mode="json"))
    accepted = await run_in_threadpool(accept_audit, context, body, idempotency_key)
    job, made = await run_in_threadpool(read_job, context, accepted.subject)
    return job_answer(job, made, 202, {"Idempotent-Replayed": "true"} if accepted.replayed else {})


@router.get(
    "/{job_id}/outcomes",
    operation_id="listOutcomes",
    summary="What an audit has found so far",
    responses=problems(404, 422, 503),
)
def list_outcomes(
    context: InContext,
    job_id: str,
    model: Annotated[str | None, Query(description="only of this model")] = None,
    cell: Annotated[
        str | None, Query(description='only of this attack, as "multav-linf@1.04", or "clean"')
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="how many at most")] = 200,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> OutcomeList:
    """Outcomes in the order in which they came in; go on with `next_cursor` while the audit runs."""
    job, _ = read_job(context, job_id)
    if job.kind != "audit":
        raise NotFound(f"job {job_id} is no audit: it has no outcomes")
    with context.database.read() as session:
        page = outcomes.listed(session, job_id, model=model, cell=cell, limit=limit, cursor=cursor)
        videos = outcomes.videos(session, job_id, sorted({each.clip for each in page.items}))
    over = job.finished and len(page.items) < limit
    return OutcomeList(
        items=[_view(each, videos[each.clip]) for each in page.items],
        next_cursor=None if over else page.next_cursor,
    )


def _view(outcome: Outcome, video: AuditClip) -> OutcomeView:
    return OutcomeView(**vars(outcome), video=video.name, group=video.group)
