"""Registration of a checkpoint of unknown origin: read, recognised, converted and tried in a bounded child process.

This side is torch-free, so the service may import it. The file goes to `models.check_in_child` as an open descriptor,
and so does the one that is written; the child knows no path. What it says is held against what this side sees itself.
"""

import hashlib
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.check_in_limits import CheckInLimits
from multav.errors import BadCheckpoint, FieldError, InvalidSpec, UploadTooLarge
from multav.model_card import ModelCard, read_card
from multav.model_upload import ModelUpload
from multav.sandbox import wire
from multav.sandbox.child import Child, ChildFailed

_MODULE: Final = "models.check_in_child"
_LIBRARIES: Final = ("torch", "numpy", "numba", "llvmlite", "safetensors", "pydantic", "typing_extensions")
_HEADER_ROOM: Final = 64 * 2**20
_LEAST_MEMORY: Final = 3 * 2**30
"""Address space for torch itself (0.8 GiB) and the smoke test; the file may cost four times its size on top."""
_CHUNK: Final = 1 << 20
_LONGEST_DETAIL: Final = 4000
_MOST_ERRORS: Final = 50
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckedIn:
    """A checkpoint that was converted and tried: safetensors with its card inside, at the destination."""

    card: ModelCard
    sha256: str
    bytes: int
    source_sha256: str

    @property
    def assumed(self) -> list[str]:
        """What was recognised or assumed, in sentences."""
        return list(self.card.assumed)

    @property
    def smoke(self) -> dict[str, Any]:
        """Outcome of the smoke test."""
        return self.card.smoke or {}


def check_in(
    source: Path, destination: Path, upload: ModelUpload, limits: CheckInLimits | None = None
) -> CheckedIn:
    """Convert the checkpoint at `source` (safetensors, or a `.pth` of torch.save) to one of ours at `destination`.

    The destination's folder must exist; a file there is replaced, and only if all went well. Raises `BadCheckpoint`
    for a file that cannot be used, `InvalidSpec` for what must be given in `upload`, and `UploadTooLarge`.
    """
    limits = limits or CheckInLimits()
    with _opened(source, limits) as file, _written(destination) as (out, made):
        source_sha256 = _sha256(file)
        message = {
            "upload": upload.model_dump(mode="json", exclude_unset=True),
            "file_name": source.name,
            "source_sha256": source_sha256,
        }
        _run(file, out, message, _for_a_file(limits, os.fstat(file).st_size))
        card = read_card(made)
        said = (card.source_sha256, upload.name or card.name, (card.smoke or {}).get("passed"))
        if said != (source_sha256, card.name, True):
            raise BadCheckpoint(
                "the converted checkpoint is not what was checked: the file took over its reader"
            )
        with made.open("rb") as converted:
            sha256 = _sha256(converted.fileno())
        size = made.stat().st_size
        made.replace(destination)
    return CheckedIn(card, sha256, size, source_sha256)


def _for_a_file(limits: CheckInLimits, size: int) -> CheckInLimits:
    """So that a small file, however it was made, cannot ask for the memory of a large one."""
    memory = min(limits.memory_bytes, _LEAST_MEMORY + 4 * size)
    return limits.model_copy(update={"memory_bytes": memory})


def _run(file: int, out: int, message: dict[str, Any], limits: CheckInLimits) -> None:
    """Let the child do its work. Raises what it refuses."""
    order = {
        "file": file,
        "out": out,
        "max_values": limits.max_values,
        "threads": limits.threads,
    }
    payload = json.dumps(message).encode()
    try:
        with Child(
            _MODULE,
            order,
            limits=limits,
            file_bytes=limits.max_bytes + _HEADER_ROOM,
            files=[file, out],
            libraries=_LIBRARIES,
        ) as child:
            child.write(len(payload).to_bytes(8, "little"), payload)
            kind, _, length = child.read_header()
            body = child.read_words(length)
            if kind == wire.SUMMARY:
                child.wait()
                return
            raise _refusal(kind, body)
    except ChildFailed as failed:
        raise BadCheckpoint(
            f"the reader {failed.reason}: the file is damaged, hostile or too much for this server; save the state "
            "dict alone, best as safetensors"
        ) from failed


def _refusal(kind: bytes, body: dict[str, Any]) -> Exception:
    """The error in a child's message, of which only plain words are taken."""
    detail, code = str(body.get("detail"))[:_LONGEST_DETAIL], body.get("code")
    if kind != wire.ERROR:
        return ChildFailed("sent an unknown message")
    if code == InvalidSpec.__name__:
        found = body.get("errors")
        errors = [
            FieldError(pointer=str(each.get("pointer")), detail=str(each.get("detail"))[:_LONGEST_DETAIL])
            for each in (found if isinstance(found, list) else [])[:_MOST_ERRORS]
            if isinstance(each, dict)
        ]
        return InvalidSpec(detail, errors=errors)
    if code == BadCheckpoint.__name__:
        return BadCheckpoint(detail)
    _log.error("the reader of checkpoints stumbled: %s", detail)
    return BadCheckpoint(
        "the reader met something in this file that it cannot read: the file is damaged; save it again"
    )


@contextmanager
def _opened(source: Path, limits: CheckInLimits) -> Iterator[int]:
    """A read-only descriptor of a regular file within the limit."""
    file = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise BadCheckpoint(f"{source.name} is not a file")
        if found.st_size == 0:
            raise BadCheckpoint("the file is empty (0 bytes): send a checkpoint")
        if found.st_size > limits.max_bytes:
            raise UploadTooLarge(
                f"the checkpoint has {found.st_size} bytes where {limits.max_bytes} are allowed: send the state dict "
                "without the optimiser's state"
            )
        yield file
    finally:
        os.close(file)


@contextmanager
def _written(destination: Path) -> Iterator[tuple[int, Path]]:
    """A descriptor to write to and its path, beside the destination; what is left there afterwards is removed."""
    out, name = tempfile.mkstemp(prefix=f".{destination.name}.", suffix=".part", dir=destination.parent)
    try:
        yield out, Path(name)
    finally:
        os.close(out)
        with suppress(FileNotFoundError):
            os.unlink(name)


def _sha256(file: int) -> str:
    """Of the whole file behind a descriptor, which is left at its beginning."""
    made, at = hashlib.sha256(), 0
    while chunk := os.pread(file, _CHUNK, at):
        made.update(chunk)
        at += len(chunk)
    return made.hexdigest()
