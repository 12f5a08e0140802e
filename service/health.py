"""Is it alive, and can it do its work?"""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.responses import PlainTextResponse

from multav.errors import MultavError
from service.alive_workers import alive_workers
from service.context import Context, InContext
from store import jobs, models
from store.tables import STATES

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="live", summary="Alive?")
async def live() -> dict[str, str]:
    """The process answers, also while every thread is busy."""
    return {"status": "ok"}


@router.get(
    "/readyz", operation_id="ready", summary="Ready?", responses={503: {"description": "A part is down"}}
)
def ready(context: InContext) -> JSONResponse:
    """Whether database, queue, artifact store and workers are there, each with a reason when it is not."""
    checks = {"database": _database(context)}
    if checks["database"]["ok"]:
        checks["artifact_store"] = _artifact_store(context)
        checks["workers"] = _workers(context)
    else:
        down = {"ok": False, "detail": "unknown while the database is away"}
        checks["artifact_store"] = checks["workers"] = down
    checks["broker"] = (
        {"ok": True}
        if context.queue.ping()
        else {"ok": False, "detail": "the queue's server does not answer"}
    )
    good = all(check["ok"] for check in checks.values())
    return JSONResponse(
        {"status": "ok" if good else "not ready", "checks": checks}, status_code=200 if good else 503
    )


@router.get(
    "/metrics", operation_id="metrics", summary="Counters for Prometheus", response_class=PlainTextResponse
)
def metrics(context: InContext) -> PlainTextResponse:
    """Jobs by state and living workers, in Prometheus' text format."""
    with context.database.read() as session:
        lines = ["# TYPE multav_jobs gauge"]
        lines += [f'multav_jobs{{state="{state}"}} {jobs.count(session, state)}' for state in STATES]  # type: ignore[arg-type]
        lines += ["# TYPE multav_workers gauge"]
        lines += [f"multav_workers {len(alive_workers(session))}"]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _database(context: Context) -> dict[str, Any]:
    try:
        context.database.ping()
    except MultavError as error:
        return {"ok": False, "detail": error.detail}
    return {"ok": True}


def _artifact_store(context: Context) -> dict[str, Any]:
    try:
        with context.database.read() as session:
            models.listed(session, limit=1)
    except MultavError as error:
        return {"ok": False, "detail": error.detail}
    return {"ok": True}


def _workers(context: Context) -> dict[str, Any]:
    with context.database.read() as session:
        alive = alive_workers(session)
    if not alive:
        return {"ok": False, "detail": "no worker has given a sign of life: jobs are accepted and wait"}
    return {"ok": True, "alive": len(alive), "busy": sum(worker.job_id is not None for worker in alive)}
