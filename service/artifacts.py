"""/v1/artifacts: the files that jobs made."""

from fastapi import APIRouter, Request, Response

from service.content import Content, content_response
from service.context import InContext
from service.problems import problems
from service.representations import ArtifactView, artifact_view
from store import artifacts

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])


@router.get("/{artifact_id}", operation_id="getArtifact", summary="An artifact", responses=problems(404, 503))
def get_artifact(context: InContext, artifact_id: str) -> ArtifactView:
    """What the artifact is: role, name, size, SHA-256."""
    with context.database.read() as session:
        return artifact_view(artifacts.get(session, artifact_id))


@router.head("/{artifact_id}/content", include_in_schema=False)
@router.get(
    "/{artifact_id}/content",
    operation_id="getArtifactContent",
    summary="An artifact's bytes",
    response_class=Response,
    responses={206: {"description": "The part that `Range` asked for"}, **problems(404, 416, 503)},
)
def get_content(context: InContext, request: Request, artifact_id: str) -> Response:
    """The bytes; `Range` and `If-None-Match` work."""
    with context.database.read() as session:
        found = artifacts.get(session, artifact_id)
    content = Content(found.blob_id, found.sha256, found.bytes, found.filename, found.media_type)
    return content_response(context.database, content, request)
