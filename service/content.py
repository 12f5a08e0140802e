"""Stored bytes as HTTP answers: ranges, entity tags, safe names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from service.problems import ProblemResponse
from store import blobs
from store.database import Database

_RANGE: Final = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Content:
    """Stored bytes with the name and type that they are handed out under."""

    blob_id: str
    sha256: str
    bytes: int
    filename: str
    media_type: str


def content_response(
    database: Database, content: Content, request: Request, *, extra: dict[str, str] | None = None
) -> Response:
    """The bytes, or the part of them that a `Range` asks for: 200, 206, 304 or 416."""
    etag = f'"{content.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": disposition(content.filename),
        **(extra or {}),
    }
    if request.method in ("GET", "HEAD") and matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    span = _span(request, content.bytes, etag)
    if span is None:
        headers["Content-Range"] = f"bytes */{content.bytes}"
        return ProblemResponse(
            {
                "type": "urn:multav:problem:range-not-satisfiable",
                "title": "The range is not within the bytes",
                "status": 416,
                "code": "range_not_satisfiable",
                "detail": f"the content has {content.bytes} bytes",
            },
            status_code=416,
            headers={"Content-Range": headers["Content-Range"]},
        )
    start, stop = span
    status = 200
    if (start, stop) != (0, content.bytes):
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.bytes}"
    headers["Content-Length"] = str(stop - start)
    body: Iterator[bytes] = iter(())
    if request.method != "HEAD":
        body = blobs.read(database, content.blob_id, start, stop)
    return StreamingResponse(body, status_code=status, headers=headers, media_type=content.media_type)


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names `etag` (weak comparison)."""
    if header is None:
        return False
    names = [name.strip().removeprefix("W/") for name in header.split(",")]
    return "*" in names or etag.removeprefix("W/") in names


def disposition(filename: str) -> str:
    """An attachment of that name, in ASCII and in UTF-8 (RFC 6266)."""
    base = re.sub(r"[\x00-\x1f\x7f]", "", filename.replace("\\", "/").rsplit("/", 1)[-1]) or "file"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", base)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(base, safe='')}"


def _span(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """First byte and end of what is asked for; None when it lies outside. Several ranges mean everything.

    A range is for GET alone, and one that ends before it begins is none (RFC 9110, 14).
    """
    if_range = request.headers.get("if-range")
    found = _RANGE.match(request.headers.get("range", "").strip())
    if (
        request.method != "GET"
        or found is None
        or not any(found.groups())
        or (if_range is not None and if_range != etag)
    ):
        return 0, size
    first, last = found.groups()
    if first and last and int(last) < int(first):
        return 0, size
    if not first:
        length = int(last)
        return (max(0, size - length), size) if length and size else None
    start = int(first)
    stop = min(size, int(last) + 1) if last else size
    return (start, stop) if start < stop else None
