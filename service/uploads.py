"""Request bodies with a file: streamed to disk, hashed, never whole in memory, never larger than allowed."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from multav.errors import MalformedRequest, UploadTooLarge
from service.context import context
from store.work_folders import WorkFolders

_CHUNK: Final = 2**20
_SPEC_BYTES: Final = 2**18
_DEEPEST: Final = 50


@dataclass(frozen=True)
class Upload:
    """A file that was sent: where it lies (until the request ends), its name as sent, and its digest."""

    path: Path
    filename: str
    media_type: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class FilePart:
    """The part of a multipart body that holds the file: its name, and a file name to show how it is sent."""

    name: str
    example: str
    without_file: str = ""
    """What a JSON body without a file may hold instead, in words; empty where only a file will do."""

    @property
    def how(self) -> str:
        """How to send it with curl."""
        return f"-F {self.name}=@{self.example}"


VIDEO: Final = FilePart("video", "clip.mp4", without_file="the id of an uploaded video")
CHECKPOINT: Final = FilePart("checkpoint", "model.pth")
ARCHIVE: Final = FilePart("archive", "videos.zip", without_file="the root of a folder that the server sees")


@dataclass(frozen=True)
class Submission:
    """A request with a file: the file if one was sent, and the JSON object that came with it."""

    upload: Upload | None
    spec: Any


@asynccontextmanager
async def submission(request: Request, part: FilePart = VIDEO) -> AsyncIterator[Submission]:
    """Read a multipart body (the file's `part` and `spec`) or a JSON body.

    Raises `MalformedRequest`, `InvalidSpec`, `UploadTooLarge`.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        async with _form(request) as form:
            _refuse_unknown_parts(form, part)
            async with _upload(form, part, context(request).folders) as upload:
                yield Submission(upload, parse_json(await _text(form, "spec") or "{}", "the part `spec`"))
    elif part.without_file and (content_type in ("application/json", "") or content_type.endswith("+json")):
        yield Submission(None, parse_json(await _body(request), "the body"))
    else:
        instead = f", or application/json with {part.without_file}" if part.without_file else ""
        raise MalformedRequest(
            f"a body of type {content_type!r} is not read: send multipart/form-data with a part `{part.name}`{instead}"
        )


async def json_body(request: Request) -> Any:
    """The JSON of a body without a file. Raises `MalformedRequest` and `UploadTooLarge`."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in ("application/json", "") and not content_type.endswith("+json"):
        raise MalformedRequest(f"a body of type {content_type!r} is not read: send application/json")
    return parse_json(await _body(request), "the body")


def parse_json(text: str | bytes, where: str) -> Any:
    """The JSON in `text`. Raises `MalformedRequest`, also for NaN, infinities and absurd nesting."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"{where} is not JSON: {error}") from error
    if _depth(value) > _DEEPEST:
        raise MalformedRequest(f"{where} is nested more than {_DEEPEST} deep")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise MalformedRequest(
            f"{where} holds half a character (a lone surrogate): {error.reason}"
        ) from error
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _depth(value: Any) -> int:
    """How deep a parsed value is nested, without recursion."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        deepest = max(deepest, depth)
        children = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        waiting.extend((child, depth + 1) for child in children)
    return deepest


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    try:
        form = await request.form(max_files=2, max_fields=20, max_part_size=_SPEC_BYTES)
    except HTTPException as error:
        if "maximum size" in error.detail:
            raise UploadTooLarge(f"a field of more than {_SPEC_BYTES} bytes is not read") from error
        raise MalformedRequest(f"the multipart body cannot be read: {error.detail}") from error
    try:
        yield form
    finally:
        await form.close()


def _refuse_unknown_parts(form: FormData, part: FilePart) -> None:
    """A part that nobody reads is a misspelt one, and its defaults are not what was asked for."""
    unknown = sorted(set(form) - {part.name, "spec"})
    if unknown:
        raise MalformedRequest(
            f"the body holds a part {unknown[0]!r}, which is not read: known are `{part.name}` (the file) and "
            "`spec` (JSON)"
        )


@asynccontextmanager
async def _upload(form: FormData, part: FilePart, folders: WorkFolders) -> AsyncIterator[Upload]:
    sent = form.getlist(part.name)
    if len(sent) != 1:
        number = "more than one" if sent else "no"
        raise MalformedRequest(
            f"the body holds {number} part `{part.name}`: send exactly one, e.g. curl {part.how}"
        )
    (file,) = sent
    if not isinstance(file, UploadFile):
        raise MalformedRequest(f"the part `{part.name}` is a field, not a file: with curl, write {part.how}")
    with folders.open() as folder:
        path = folder / part.name
        digest, size = await run_in_threadpool(_copy, file, path)
        yield Upload(
            path, file.filename or part.name, file.content_type or "application/octet-stream", digest, size
        )


def _copy(part: UploadFile, path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        while chunk := part.file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
    return digest.hexdigest(), size


async def _text(form: FormData, name: str) -> str:
    parts = form.getlist(name)
    if len(parts) > 1:
        raise MalformedRequest(f"the body holds more than one part `{name}`")
    if not parts:
        return ""
    if isinstance(parts[0], str):
        return parts[0]
    data = await parts[0].read(_SPEC_BYTES + 1)
    if len(data) > _SPEC_BYTES:
        raise MalformedRequest(f"the part `{name}` is larger than {_SPEC_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"the part `{name}` is not UTF-8: {error}") from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _SPEC_BYTES:
            raise UploadTooLarge(f"a JSON body of more than {_SPEC_BYTES} bytes is not read")
    if not body:
        raise MalformedRequest("the body is empty: send a JSON object, or multipart/form-data with the file")
    return bytes(body)


class UploadLimit:
    """Counts the bytes of every request body as they come in, whatever Content-Length says.

    `elsewhere` gives the limits of single paths.
    """

    def __init__(self, app: ASGIApp, most: int, elsewhere: Mapping[str, int]) -> None:
        self._app = app
        self._most = most
        self._elsewhere = dict(elsewhere)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; reading more than allowed raises `UploadTooLarge` in the reader."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0
        most = self._elsewhere.get(scope["path"], self._most)

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise UploadTooLarge(
                    f"the body is larger than the {most} bytes that this server takes here: send a smaller file"
                )
            return message

        await self._app(scope, counted, send)
