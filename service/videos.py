"""/v1/videos: upload once, attack many times."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from multav.errors import MalformedRequest
from service.content import Content, content_response
from service.context import InContext
from service.door import accept_video
from service.paging import Cursor, Limit
from service.problems import problems
from service.representations import VideoView, video_view
from service.uploads import submission
from store import videos

router = APIRouter(prefix="/v1/videos", tags=["videos"])


class VideoList(BaseModel):
    """A page of videos, newest first."""

    items: list[VideoView]
    next_cursor: str | None


@router.get("", operation_id="listVideos", summary="List uploaded videos", responses=problems(422, 503))
def list_videos(context: InContext, limit: Limit = 50, cursor: Cursor = None) -> VideoList:
    """Videos that were uploaded here, newest first. Those that came with an attack go with its job."""
    with context.database.read() as session:
        page = videos.listed(session, limit=limit, cursor=cursor)
    return VideoList(items=[video_view(video) for video in page.items], next_cursor=page.next_cursor)


@router.get("/{video_id}", operation_id="getVideo", summary="An uploaded video", responses=problems(404, 503))
def get_video(context: InContext, video_id: str) -> VideoView:
    """The video and what the probe found in it."""
    with context.database.read() as session:
        return video_view(videos.get(session, video_id))


@router.head("/{video_id}/content", include_in_schema=False)
@router.get(
    "/{video_id}/content",
    operation_id="getVideoContent",
    summary="An uploaded video's bytes",
    response_class=Response,
    responses={206: {"description": "The part that `Range` asked for"}, **problems(404, 416, 503)},
)
def get_content(context: InContext, request: Request, video_id: str) -> Response:
    """The bytes; `Range` and `If-None-Match` work."""
    with context.database.read() as session:
        found = videos.get(session, video_id)
    content = Content(found.blob_id, found.sha256, found.bytes, found.filename, found.media_type)
    return content_response(context.database, content, request)


@router.post(
    "",
    operation_id="createVideo",
    summary="Upload a video",
    status_code=201,
    response_model=VideoView,
    responses={
        200: {"description": "The same bytes are there already", "model": VideoView},
        **problems(400, 413, 415, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["video"],
                        "properties": {"video": {"type": "string", "format": "binary"}},
                    }
                }
            },
        }
    },
)
async def create_video(
    request: Request,
    context: InContext,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="the same key and file give the same answer"),
    ] = None,
) -> Response:
    """Keep a video until it is deleted. The same bytes give the same video: 200 instead of 201."""
    async with submission(request) as sent:
        if sent.upload is None:
            raise MalformedRequest("send the file as multipart/form-data in a part `video`")
        accepted = await run_in_threadpool(accept_video, context, sent.upload, idempotency_key)
    view = await run_in_threadpool(get_video, context, accepted.subject)
    headers = {"Location": f"/v1/videos/{accepted.subject}"}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(
        view.model_dump(mode="json"), status_code=201 if accepted.new else 200, headers=headers
    )


@router.delete(
    "/{video_id}",
    operation_id="deleteVideo",
    summary="Delete a video",
    status_code=204,
    responses=problems(404, 409, 503),
)
def delete_video(context: InContext, video_id: str) -> Response:
    """Delete an uploaded video that no job refers to."""
    with context.database.write() as session:
        videos.remove(session, video_id)
    return Response(status_code=204)
