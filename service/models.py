"""/v1/models: the registry."""

from fastapi import APIRouter
from pydantic import BaseModel

from service.context import InContext
from service.paging import Cursor, Limit
from service.problems import problems
from service.representations import ModelView, model_view
from store import models

router = APIRouter(prefix="/v1/models", tags=["models"])


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
