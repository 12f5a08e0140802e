"""Decoded clips on disk, so that the second audit of a dataset decodes nothing.

One file per clip, named by a digest of everything that its pixels depend on: the video's file (path, size and time of
its last change) or a made clip's formula, the recipe and the geometry. Many processes may share a folder. A file is
written beside its place and renamed, so no reader ever sees half of one; it carries a digest of its content, and one
that does not fit is removed and made again. The least recently used files go first when the bytes that the cache may
take are used up.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from multav.datasets.clips import LoadedClip, load_clip
from multav.datasets.listing import ListedVideo
from multav.datasets.made_video import MadeVideo
from multav.datasets.recipes import Recipe
from multav.geometry import InputGeometry
from multav.video.limits import Limits

_FORMAT: Final = "multav-clip-1"
"""Changes with the layout of the files and with the pixels that decoding, resizing and formulas give."""

_SUFFIX: Final = ".clip"
_HALF_WRITTEN: Final = ".part"
_DIGEST_BYTES: Final = 32
_KEPT_SHARE: Final = 0.9
_ABANDONED_SECONDS: Final = 3600.0
_LONGEST_HEADER: Final = 4096


@dataclass(frozen=True)
class ClipCache:
    """Clips in `folder`, which may take `max_bytes`."""

    folder: Path
    max_bytes: int

    def load(
        self,
        video: ListedVideo,
        geometry: InputGeometry,
        recipe: Recipe,
        limits: Limits | None = None,
        *,
        check: Callable[[], None] | None = None,
    ) -> LoadedClip:
        """As `load_clip`, from the cache where it is there. A bad video is tried again each time."""
        key = _key(video, geometry, recipe)
        if key is None:
            return load_clip(video, geometry, recipe, limits, check=check)
        kept = self.get(key)
        if kept is not None:
            return kept
        loaded = load_clip(video, geometry, recipe, limits, check=check)
        # Changed while it was read: nobody knows which of the two it is.
        if _key(video, geometry, recipe) == key:
            self.put(key, loaded)
        return loaded

    def get(self, key: str) -> LoadedClip | None:
        """The clip that was kept under `key`; a file that is not what was written is removed."""
        place = self._place(key)
        try:
            content = place.read_bytes()
        except OSError:
            return None
        clip = _unpacked(content)
        if clip is None:
            self._remove(place)
            return None
        with contextlib.suppress(OSError):
            os.utime(place)
        return clip

    def put(self, key: str, clip: LoadedClip) -> None:
        """Keep `clip` under `key`, and let the least recently used go where there is no room.

        One larger than the whole cache is not kept. A disk that is full or may not be written to is no reason to
        fail: then nothing is kept.
        """
        content = _packed(clip)
        if len(content) > self.max_bytes:
            return
        with contextlib.suppress(OSError):
            place = self._place(key)
            place.parent.mkdir(parents=True, exist_ok=True)
            with _written(place.parent, content) as part, self._books() as books:
                if place.exists():
                    return
                if books.read() + len(content) > self.max_bytes:
                    books.write(self._make_room(len(content)))
                # Booked before it is there: who dies in between leaves too much in the books, never too little.
                books.write(books.read() + len(content))
                part.rename(place)

    @property
    def bytes(self) -> int:
        """How many bytes the kept clips take."""
        return sum(size for _, size, _ in self._kept())

    def _place(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _remove(self, place: Path) -> None:
        with contextlib.suppress(OSError), self._books() as books:
            size = place.stat().st_size
            place.unlink()
            books.write(max(0, books.read() - size))

    def _make_room(self, needed: int) -> int:
        """Remove the least recently used until `needed` bytes and some more fit; what is then taken."""
        kept = sorted(self._kept())
        taken = sum(size for _, size, _ in kept)
        allowed = min(int(self.max_bytes * _KEPT_SHARE), self.max_bytes - needed)
        for _, size, place in kept:
            if taken <= allowed:
                break
            place.unlink(missing_ok=True)
            taken -= size
        for part in self.folder.glob(f"*/*{_HALF_WRITTEN}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                    part.unlink()
        return taken

    def _kept(self) -> Iterator[tuple[int, int, Path]]:
        """(last use, bytes, place) of every kept clip."""
        for place in self.folder.glob(f"*/*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                found = place.stat()
                yield found.st_mtime_ns, found.st_size, place

    @contextmanager
    def _books(self) -> Iterator["_Books"]:
        """The only writer's hold on how many bytes are taken."""
        descriptor = os.open(self.folder / "bytes", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield _Books(descriptor, self)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class _Books:
    """The file that says how many bytes are taken; counted anew where it says nothing that can be read."""

    descriptor: int
    cache: ClipCache

    def read(self) -> int:
        said = os.pread(self.descriptor, 32, 0)
        return int(said) if said.isdigit() else self.cache.bytes

    def write(self, taken: int) -> None:
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, str(taken).encode(), 0)


def _key(video: ListedVideo, geometry: InputGeometry, recipe: Recipe) -> str | None:
    """What the pixels depend on, as hex; None where the file is not there.

    Mean and standard deviation are the model's affair: they do not count.
    """
    source = _made_by(video) if isinstance(video, MadeVideo) else _file_of(video)
    if source is None:
        return None
    parts = source | {
        "format": _FORMAT,
        "recipe": recipe,
        "geometry": geometry.model_dump(include={"frames", "stride", "short_side", "height", "width"}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def _file_of(video: ListedVideo) -> dict[str, Any] | None:
    if video.path is None:
        return None
    try:
        found = video.path.stat()
    except OSError:
        return None
    return {
        "path": os.fspath(video.path.resolve()),
        "bytes": found.st_size,
        "changed": found.st_mtime_ns,
        "inode": found.st_ino,
    }


def _made_by(video: MadeVideo) -> dict[str, Any]:
    # The numbers that a formula draws are numpy's: another version may make other pictures.
    return {"formula": video.formula, "numpy": np.__version__}


def _packed(clip: LoadedClip) -> bytes:
    """Digest of the rest, one line of JSON, the levels."""
    about = {
        "format": _FORMAT,
        "shape": list(clip.levels.shape),
        "frames": clip.frames,
        "damaged": clip.damaged,
    }
    rest = json.dumps(about).encode() + b"\n" + clip.levels.numpy().tobytes()
    return hashlib.blake2b(rest, digest_size=_DIGEST_BYTES).digest() + rest


def _unpacked(content: bytes) -> LoadedClip | None:
    """The clip in `content`, or None where it is not what was written."""
    digest, rest = content[:_DIGEST_BYTES], memoryview(content)[_DIGEST_BYTES:]
    if hashlib.blake2b(rest, digest_size=_DIGEST_BYTES).digest() != digest:
        return None
    # The digest fits: these are bytes that this file wrote.
    end = content.index(b"\n", _DIGEST_BYTES, _DIGEST_BYTES + _LONGEST_HEADER)
    about = json.loads(content[_DIGEST_BYTES:end])
    if about["format"] != _FORMAT:
        return None
    levels = np.frombuffer(bytearray(memoryview(content)[end + 1 :]), np.uint8).reshape(about["shape"])
    return LoadedClip(torch.from_numpy(levels), about["frames"], about["damaged"])


@contextmanager
def _written(folder: Path, content: bytes) -> Iterator[Path]:
    """A file in `folder` with `content`, gone afterwards unless it was renamed."""
    descriptor, name = tempfile.mkstemp(suffix=_HALF_WRITTEN, dir=folder)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield part
    finally:
        part.unlink(missing_ok=True)
