"""The door for models: a checkpoint is read and tried in a bounded child process before anything is registered."""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from models.check_in import check_in
from models.check_in_limits import CheckInLimits
from multav.errors import BadCheckpoint, Conflict, MalformedRequest, QueueFull
from multav.model_card import read_card
from multav.model_upload import ModelUpload
from service.context import Context
from service.once import Accepted
from service.uploads import Submission, Upload
from store import blobs, idempotency, models
from store.models import RegisteredModel
from store.settings import Settings

ROUTE: Final = "POST /v1/models"
_PATIENCE_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True)
class _Order:
    """What a request means, as a digest of its specification and its file, and its Idempotency-Key."""

    meaning: str
    key: str | None


async def accept_model(context: Context, submission: Submission, key: str | None) -> Accepted:
    """Check an uploaded checkpoint in and register it; the name as `subject`.

    Raises `InvalidSpec`, `BadCheckpoint`, `Conflict`, `QueueFull`, `IdempotencyMismatch`.
    """
    upload = submission.upload
    if upload is None:
        raise MalformedRequest("send the file as multipart/form-data in a part `checkpoint`")
    asked = ModelUpload.parse(submission.spec)
    order = _Order(idempotency.request_hash(asked.model_dump(mode="json"), upload.sha256), key)
    known = await run_in_threadpool(_known, context, asked, submission, order)
    if known is not None:
        return known
    async with _room(context):
        return await run_in_threadpool(_check_in, context, asked, upload, order)


def remove_model(context: Context, name: str) -> None:
    """Delete a model. Raises `NotFound` and `Conflict`."""
    with context.database.write() as session:
        models.get(session, name)
        if name == context.settings.default_model:
            raise Conflict(
                f"model {name!r} is what requests use that name none: set MULTAV_DEFAULT_MODEL to another one and "
                "start the service again, then delete it"
            )
        models.remove(session, name)


def check_in_limits(settings: Settings) -> CheckInLimits:
    """What reading and trying one checkpoint may cost."""
    return CheckInLimits(
        max_bytes=settings.max_checkpoint_bytes,
        memory_bytes=settings.check_in_memory_bytes,
        wall_seconds=settings.check_in_seconds,
        stall_seconds=settings.check_in_seconds,
        cpu_seconds=math.ceil(settings.check_in_seconds),
    )


def _known(context: Context, asked: ModelUpload, submission: Submission, order: _Order) -> Accepted | None:
    """The answer that needs no look into the file: it came before. Raises `Conflict` for a name that is taken."""
    assert submission.upload is not None, "a file came"
    sha256 = submission.upload.sha256
    with context.database.read() as session:
        first = None if order.key is None else idempotency.answered(session, order.key, ROUTE, order.meaning)
        if first is not None:
            return Accepted(models.name_in(first), replayed=True)
        same = models.uploaded_as(session, order.meaning)
        if same is None and not submission.spec:
            # A checkpoint that was downloaded from here and comes back as it is.
            same = models.with_sha256(session, sha256)
        if same is None and asked.name:
            version = _version(asked, submission.upload.path)
            in_the_way = models.find(session, models.full_name(asked.name, version))
            if in_the_way is not None and in_the_way.sha256 != sha256:
                raise models.taken(in_the_way.name)
    return None if same is None else _answer(context, order, lambda _: (same, False))


def _version(asked: ModelUpload, path: Path) -> str:
    """The version that the model will have: as asked for, or as its card says if it has one."""
    if "version" not in asked.model_fields_set:
        with suppress(BadCheckpoint):
            return read_card(path).version
    return asked.version


def _check_in(context: Context, asked: ModelUpload, upload: Upload, order: _Order) -> Accepted:
    same = _same_meanwhile(context, order)
    if same is not None:
        return same
    with context.folders.open() as folder:
        native = folder / "native.safetensors"
        # A checkpoint without a name is called after its file.
        named = folder / "source"
        named.mkdir()
        source = upload.path.rename(named / _plain(upload.filename))
        checked = check_in(source, native, asked, check_in_limits(context.settings))
        # Told before a gigabyte is stored.
        same = _same_meanwhile(context, order)
        if same is not None:
            return same
        _refuse_taken(context, models.name_of(checked.card))
        with native.open("rb") as file:
            blob = blobs.write(context.database, file)
    return _answer(
        context, order, lambda session: models.add(session, checked.card, blob, upload_hash=order.meaning)
    )


def _same_meanwhile(context: Context, order: _Order) -> Accepted | None:
    """The answer, if the same request was registered while this one waited or was looked into."""
    with context.database.read() as session:
        same = models.uploaded_as(session, order.meaning)
    return None if same is None else _answer(context, order, lambda _: (same, False))


def _refuse_taken(context: Context, name: str) -> None:
    with context.database.read() as session:
        if models.find(session, name) is not None:
            raise models.taken(name)


def _answer(
    context: Context, order: _Order, register: Callable[[Session], tuple[RegisteredModel, bool]]
) -> Accepted:
    """Register the model and note what its key stands for, both or neither."""
    try:
        with context.database.write() as session:
            model, new = register(session)
            if order.key is not None and not idempotency.remember(
                session, order.key, ROUTE, order.meaning, models.subject_of(model.name)
            ):
                raise _AnsweredMeanwhile
    except _AnsweredMeanwhile:
        with context.database.read() as session:
            first = idempotency.answered(session, str(order.key), ROUTE, order.meaning)
        return Accepted(models.name_in(str(first)), replayed=True)
    return Accepted(model.name, replayed=False, new=new)


class _AnsweredMeanwhile(Exception):
    """Another request with the same Idempotency-Key was faster; what this one did is rolled back."""


def _plain(filename: str) -> str:
    """The last part of a name that a client sent, in letters that no file system minds."""
    last = re.split(r"[/\\]", filename)[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last)[-100:].strip(".-") or "checkpoint"


@asynccontextmanager
async def _room(context: Context) -> AsyncIterator[None]:
    """One of the places for check-ins, waited for without holding a thread. Raises `QueueFull`."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not context.check_ins.acquire(blocking=False):
        if time.monotonic() > deadline:
            raise QueueFull(
                f"{context.settings.check_ins_at_once} checkpoint(s) are being read and tried already: try again later"
            )
        await asyncio.sleep(_LOOK_SECONDS)
    try:
        yield
    finally:
        context.check_ins.release()
