"""The HTTP application. It starts without torch, and without the queue being there."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from service import (
    artifacts,
    attack_kinds,
    attacks,
    audits,
    datasets,
    health,
    jobs,
    models,
    problems,
    trainings,
    videos,
)
from service.context import Context, refuse_nul
from service.problems import Problem
from service.uploads import UploadLimit
from store.database import Database
from store.queue import Queue
from store.settings import Settings, load_settings
from store.work_folders import WorkFolders

# A multipart body is a little more than the file in it: the specification, and the lines between the parts.
_BESIDE_THE_FILE = 2**16
_DESCRIPTION = """\
POST a video, get its adversarial version, verified after encoding. Attacks are multiplicative (MultAV, under a
ratio bound) or additive. Every error is `application/problem+json` with a stable `code`. Every POST takes an
`Idempotency-Key` (but cancelling, pausing and resuming, which may be repeated as they are): the same key and request
give the first answer again, for a day.
"""


def app_from_environment() -> FastAPI:
    """The application with the settings of the environment, for uvicorn's `--factory`."""
    return create_app(load_settings())


def create_app(settings: Settings) -> FastAPI:
    """The application."""
    database, queue = Database(settings.database), Queue(settings)
    folders = WorkFolders(settings.data_dir / "uploads")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # A process that was killed left its uploads behind.
        folders.remove_stale()
        yield
        queue.close()
        database.close()

    app = FastAPI(
        title="multav",
        version="0.1.0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(refuse_nul)],
    )
    app.state.context = Context(
        settings,
        database,
        queue,
        folders,
        probes=threading.BoundedSemaphore(settings.probes_at_once),
        check_ins=threading.BoundedSemaphore(settings.check_ins_at_once),
    )
    app.add_middleware(
        UploadLimit,
        most=settings.max_upload_bytes + _BESIDE_THE_FILE,
        elsewhere={"/v1/models": settings.max_checkpoint_bytes + _BESIDE_THE_FILE},
    )
    problems.install(app)
    app.include_router(attacks.router)
    app.include_router(videos.router)
    app.include_router(jobs.router)
    app.include_router(artifacts.router)
    app.include_router(attack_kinds.router)
    app.include_router(models.router)
    app.include_router(datasets.router)
    app.include_router(audits.router)
    app.include_router(trainings.router)
    app.include_router(health.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the problem object that every route refers to."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schemas["Problem"].pop("$defs", {}))
        _say_problems(document)
        app.openapi_schema = document
    return app.openapi_schema


def _say_problems(document: dict[str, Any]) -> None:
    """Where the framework speaks of its own validation errors, speak of problems: those are what is answered."""
    for methods in document["paths"].values():
        for operation in methods.values():
            refusal = operation.get("responses", {}).get("422")
            if refusal is not None and "application/json" in refusal.get("content", {}):
                operation["responses"]["422"] = problems.problems(422)[422]
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
