"""/v1/models: the registry."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from multav.errors import NotFound
from multav.model_upload import ModelUpload
from service.content import Content, content_response
from service.context import InContext
from service.inlined_schema import inline
from service.model_door import accept_model, remove_model
from service.paging import Cursor, Limit
from service.problems import problems
from service.representations import ModelView, model_view
from service.uploads import CHECKPOINT, submission
from store import models

router = APIRouter(prefix="/v1/models", tags=["models"])
_EXAMPLE: Final = {
    "name": "my-ucf101-r3d18",
    "architecture": "resnet3d",
    "classes": ["archery", "biking", "diving"],
    "geometry": {
        "frames": 16,
        "stride": 2,
        "short_side": 112,
        "height": 112,
        "width": 112,
        "mean": [0.4345, 0.4051, 0.3775],
        "std": [0.2768, 0.2713, 0.2737],
    },
    "licence": "MIT",
    "provenance": "trained on UCF101 split 1 by me",
}


class ModelList(BaseModel):
    """A page of models, newest first."""

    items: list[ModelView]
    next_cursor: str | None


@router.get("", operation_id="listModels", summary="List models", responses=problems(422, 503))
def list_models(context: InContext, limit: Limit = 50, cursor: Cursor = None) -> ModelList:
    """Registered models, newest first."""
    with context.database.read() as session:
        page = models.listed(session, limit=limit, cursor=cursor)
    default = context.settings.default_model
    return ModelList(
        items=[model_view(model, default=default) for model in page.items], next_cursor=page.next_cursor
    )


@router.get("/{name}", operation_id="getModel", summary="A model", responses=problems(404, 503))
def get_model(context: InContext, name: str) -> ModelView:
    """The model's architecture, classes, input geometry, SHA-256, measured accuracies, and where it came from."""
    with context.database.read() as session:
        return model_view(models.get(session, name), default=context.settings.default_model)


@router.head("/{name}/content", include_in_schema=False)
@router.get(
    "/{name}/content",
    operation_id="getModelContent",
    summary="A model's checkpoint",
    response_class=Response,
    responses={206: {"description": "The part that `Range` asked for"}, **problems(404, 416, 503)},
)
def get_content(context: InContext, request: Request, name: str) -> Response:
    """The native checkpoint (safetensors with the model's card inside); `Range` and `If-None-Match` work."""
    with context.database.read() as session:
        found = models.get(session, name)
    if found.blob_id is None or found.bytes is None:
        raise NotFound(f"model {name!r} is its operator's own code: it has no checkpoint to be fetched")
    filename = f"{found.name}.safetensors"
    content = Content(found.blob_id, found.sha256, found.bytes, filename, "application/octet-stream")
    return content_response(context.database, content, request)


def _request_body() -> dict[str, Any]:
    """The OpenAPI of the upload."""
    spec = ModelUpload.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = spec.pop("$defs", {})
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["checkpoint"],
                        "properties": {
                            "checkpoint": {
                                "type": "string",
                                "format": "binary",
                                "description": "native safetensors, or a legacy .pth, .pt or .tar of tensors",
                            },
                            "spec": inline(spec, definitions),
                        },
                    },
                    "encoding": {"spec": {"contentType": "application/json"}},
                    "example": {"checkpoint": "(bytes)", "spec": _EXAMPLE},
                }
            },
        }
    }


@router.post(
    "",
    operation_id="createModel",
    summary="Upload a model",
    status_code=201,
    response_model=ModelView,
    responses={
        200: {"description": "The same file and specification are registered already", "model": ModelView},
        201: {
            "description": "Registered; `smoke` says what came of trying it, `assumed` what the file did not say",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **problems(400, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=_request_body(),
)
async def create_model(
    request: Request,
    context: InContext,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="the same key, file and spec give the same answer"),
    ] = None,
) -> Response:
    """Read a checkpoint, try it, and register it until it is deleted.

    Nothing in the file is executed: it is read and tried in a child process with bounded memory and time, and kept
    as safetensors. What a native checkpoint's card says need not be said again.
    """
    async with submission(request, CHECKPOINT) as sent:
        accepted = await accept_model(context, sent, idempotency_key)
    view = await run_in_threadpool(get_model, context, accepted.subject)
    headers = {"Location": view.links["self"]}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(
        view.model_dump(mode="json"), status_code=201 if accepted.new else 200, headers=headers
    )


@router.delete(
    "/{name}",
    operation_id="deleteModel",
    summary="Delete a model",
    status_code=204,
    responses=problems(404, 409, 503),
)
def delete_model(context: InContext, name: str) -> Response:
    """Delete a model that no waiting or running job uses. Jobs that have ended keep their results.

    The server's default and the models that come with the code stay; what the operator declares (a folder, own code)
    is registered again at the next start, as long as it is declared.
    """
    remove_model(context, name)
    return Response(status_code=204)
