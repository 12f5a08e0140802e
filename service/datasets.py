"""/v1/datasets: labelled videos that audits are run on."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from multav.datasets.catalogue import DATASETS
from service.attacks import job_answer
from service.context import InContext
from service.dataset_door import DatasetUpload, accept_dataset, accept_scan
from service.inlined_schema import inline
from service.jobs import read_job
from service.paging import Cursor, Limit
from service.problems import problems
from service.representations import DatasetView, JobView, dataset_view
from service.uploads import ARCHIVE, submission
from store import datasets

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
_EXAMPLE: Final = {"name": "ucf101-test-1", "kind": "ucf101", "root": "UCF101", "split": 1, "subset": "test"}


class DatasetList(BaseModel):
    """A page of datasets, newest first."""

    items: list[DatasetView]
    next_cursor: str | None


def _request_body() -> dict[str, Any]:
    """The OpenAPI of both bodies: the fields of one kind, with a name and a root or an archive."""
    kinds = []
    beside = DatasetUpload.model_json_schema()
    for spec in DATASETS.values():
        schema = spec.model_json_schema(ref_template="#/components/schemas/{model}")
        definitions = schema.pop("$defs", {})
        schema["properties"] = {**beside["properties"], **schema["properties"]}
        schema["required"] = ["name", "kind"]
        kinds.append(inline(schema, definitions))
    either = {"oneOf": kinds}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": either, "example": _EXAMPLE},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["archive", "spec"],
                        "properties": {
                            "archive": {
                                "type": "string",
                                "format": "binary",
                                "description": "zip or tar of videos",
                            },
                            "spec": either,
                        },
                    },
                    "encoding": {"spec": {"contentType": "application/json"}},
                },
            },
        }
    }


@router.get("", operation_id="listDatasets", summary="List datasets", responses=problems(422, 503))
def list_datasets(context: InContext, limit: Limit = 50, cursor: Cursor = None) -> DatasetList:
    """Registered datasets, newest first."""
    with context.database.read() as session:
        page = datasets.listed(session, limit=limit, cursor=cursor)
    allowed = context.settings.datasets_dir
    return DatasetList(
        items=[dataset_view(each, allowed=allowed) for each in page.items], next_cursor=page.next_cursor
    )


@router.get("/{name}", operation_id="getDataset", summary="A dataset", responses=problems(404, 503))
def get_dataset(context: InContext, name: str) -> DatasetView:
    """The dataset's classes, how many videos it lists, and what is odd about it."""
    with context.database.read() as session:
        return dataset_view(datasets.get(session, name), allowed=context.settings.datasets_dir)


@router.post(
    "",
    operation_id="createDataset",
    summary="Register a dataset",
    status_code=201,
    response_model=DatasetView,
    responses={
        200: {"description": "The same dataset is registered already", "model": DatasetView},
        201: {"description": "Registered", "headers": {"Location": {"schema": {"type": "string"}}}},
        **problems(400, 409, 413, 422, 503),
    },
    openapi_extra=_request_body(),
)
async def create_dataset(
    request: Request,
    context: InContext,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="the same key and request give the same answer"),
    ] = None,
) -> Response:
    """Register labelled videos: a folder that the server sees, or an archive of them.

    Lists and folders are read at once, videos when an audit needs them; one that cannot be decoded is counted and told
    there, never left out in silence.
    """
    async with submission(request, ARCHIVE) as sent:
        accepted = await run_in_threadpool(accept_dataset, context, sent, idempotency_key)
    view = await run_in_threadpool(get_dataset, context, datasets.name_in(accepted.subject))
    headers = {"Location": view.links["self"]}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(
        view.model_dump(mode="json"), status_code=201 if accepted.new else 200, headers=headers
    )


@router.post(
    "/{name}/scan",
    operation_id="scanDataset",
    summary="Look at every video of a dataset",
    status_code=202,
    response_model=JobView,
    responses=problems(404, 422, 429, 503),
)
def scan_dataset(
    context: InContext,
    name: str,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, description="the same key gives the same job")
    ] = None,
) -> Response:
    """Queue an integrity scan: every video is decoded and hashed.

    The job's result counts what is fine, damaged, corrupt and missing, and names duplicates; `dataset-manifest` among
    its artifacts has a line of JSON for every video with its SHA-256.
    """
    accepted = accept_scan(context, name, idempotency_key)
    job, made = read_job(context, accepted.subject)
    return job_answer(job, made, 202, {"Idempotent-Replayed": "true"} if accepted.replayed else {})


@router.delete(
    "/{name}",
    operation_id="deleteDataset",
    summary="Forget a dataset",
    status_code=204,
    responses=problems(404, 409, 503),
)
def delete_dataset(context: InContext, name: str) -> Response:
    """Forget a dataset that no waiting or running job uses. Files in a folder stay; an uploaded archive goes."""
    with context.database.write() as session:
        datasets.remove(session, name)
    return Response(status_code=204)
