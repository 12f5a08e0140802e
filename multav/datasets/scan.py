"""Looking at every video of a dataset: is it there, does it decode, is it there twice. Torch-free.

Nothing is left out: a video that is missing, corrupt or damaged is a line of the manifest as any other. The result
depends on the files alone, not on how many processes looked at them.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from multav.datasets.cut_short import cut_short
from multav.datasets.listing import ListedVideo, Listing
from multav.datasets.made_video import MadeVideo
from multav.datasets.opening import as_bad_video
from multav.datasets.ordered_pool import in_order
from multav.errors import BadVideo
from multav.video.decode import decode
from multav.video.limits import Limits

Status = Literal["ok", "damaged", "corrupt", "missing"]

_CHUNK: Final = 1 << 20
_AHEAD: Final = 8


@dataclass(frozen=True, slots=True)
class ScannedVideo:
    """What was found of one video. `label` is the class's name, `detail` says what is wrong with it.

    `ok`: all of it decodes; `damaged`: parts do not, and are passed over when clips are made, or far fewer frames
    decode than the container says; `corrupt`: nothing decodes; `missing`: the file is not there. `ok` may have a
    detail too: a frame more or less than the container says. `bytes`, `sha256` and `frames` are None where they are
    not known.
    """

    name: str
    label: str
    group: str
    bytes: int | None
    sha256: str | None
    frames: int | None
    status: Status
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Videos with the same bytes. Where they `straddle` classes, at least one label is wrong."""

    sha256: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    straddles: bool


class Scan(BaseModel):
    """The outcome of a scan. `remarks` are the listing's: counts other than the official ones, unlisted files.

    `dataset_sha256` names the listing, `content_sha256` the listing and every byte of its files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    videos: tuple[ScannedVideo, ...]
    duplicates: tuple[Duplicate, ...]
    remarks: tuple[str, ...]
    dataset_sha256: str
    content_sha256: str

    @property
    def counts(self) -> dict[Status, int]:
        """How many videos have each status."""
        found = Counter(video.status for video in self.videos)
        return {
            "ok": found["ok"],
            "damaged": found["damaged"],
            "corrupt": found["corrupt"],
            "missing": found["missing"],
        }

    @property
    def corrupt(self) -> tuple[ScannedVideo, ...]:
        """The videos of which nothing decodes."""
        return tuple(video for video in self.videos if video.status == "corrupt")

    @property
    def manifest(self) -> str:
        """A line of JSON per video: name, label, group, bytes, sha256, frames, status."""
        lines = []
        for video in self.videos:
            line = asdict(video)
            del line["detail"]
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        return "".join(lines)


def scan(
    listing: Listing,
    limits: Limits | None = None,
    *,
    workers: int = 2,
    check: Callable[[], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Look at every video of `listing`, decoding all of each in a bounded child process, `workers` at a time.

    `progress(done, total)` is called after each video, `check` ten times a second; what it raises ends the scan.
    """
    look = partial(_look, classes=listing.classes, limits=limits or Limits())
    found: list[ScannedVideo] = []
    for _, scanned in in_order(
        listing.videos, look, workers=workers, ahead=max(workers, _AHEAD), check=check
    ):
        found.append(scanned)
        if progress is not None:
            progress(len(found), len(listing.videos))
    named = dataset_sha256(listing)
    return Scan(
        classes=listing.classes,
        videos=tuple(found),
        duplicates=_duplicates(found),
        remarks=listing.remarks,
        dataset_sha256=named,
        content_sha256=_digest([named], ([video.sha256] for video in found)),
    )


def dataset_sha256(listing: Listing) -> str:
    """A name for what `listing` lists, as hex: its classes in their order, and each video's name, label and group.

    It does not look at the files: those are for a scan's `content_sha256`. For made clips their formula counts, which
    is all of their content.
    """
    return _digest(
        ["multav-dataset-1", *listing.classes],
        ([video.name, video.label, video.group, *_formula(video)] for video in listing.videos),
    )


def _digest(head: list[Any], lines: Iterable[list[Any]]) -> str:
    """SHA-256 of one line of JSON per list, so that no two different inputs make the same bytes."""
    digest = hashlib.sha256()
    for line in (head, *lines):
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()


def _formula(video: ListedVideo) -> tuple[str, ...]:
    return (video.formula,) if isinstance(video, MadeVideo) else ()


def _look(
    video: ListedVideo, unless_left: Callable[[], None], *, classes: tuple[str, ...], limits: Limits
) -> ScannedVideo:
    about = partial(ScannedVideo, name=video.name, label=classes[video.label], group=video.group)
    if isinstance(video, MadeVideo):
        pictures = video.pictures()
        digest = hashlib.sha256(pictures.tobytes()).hexdigest()
        return about(bytes=pictures.nbytes, sha256=digest, frames=len(pictures), status="ok")
    if video.path is None or not video.path.is_file():
        return about(bytes=None, sha256=None, frames=None, status="missing", detail="the file is not there")
    size: int | None = None
    digest_of_file: str | None = None
    try:
        with as_bad_video(video.name):
            size, digest_of_file = _read(video, unless_left)
            frames, claimed, damaged = _decoded(video, limits, unless_left)
    except BadVideo as error:
        return about(bytes=size, sha256=digest_of_file, frames=None, status="corrupt", detail=error.detail)
    details = ["parts of the file could not be decoded"] if damaged else []
    if claimed not in (None, frames):
        details.append(f"the container says {claimed} frames, {frames} decode")
    damaged = damaged or cut_short(claimed, frames)
    return about(
        bytes=size,
        sha256=digest_of_file,
        frames=frames,
        status="damaged" if damaged else "ok",
        detail="; ".join(details),
    )


def _read(video: ListedVideo, unless_left: Callable[[], None]) -> tuple[int, str]:
    """How many bytes the file has, and their SHA-256."""
    assert video.path is not None, "asked before"
    digest, size = hashlib.sha256(), 0
    with video.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            unless_left()
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def _decoded(
    video: ListedVideo, limits: Limits, unless_left: Callable[[], None]
) -> tuple[int, int | None, bool]:
    """How many frames decode, how many the container claims, whether others did not decode. Raises `BadVideo`s."""
    assert video.path is not None, "asked before"
    with decode(video.path, limits) as frames:
        for _ in frames:
            unless_left()
        assert frames.summary is not None, "all frames were read"
        return frames.summary.frames, frames.info.frames, frames.summary.damaged


def _duplicates(videos: Iterable[ScannedVideo]) -> tuple[Duplicate, ...]:
    """The videos that have their bytes in common, in the order of the listing."""
    same: dict[str, list[ScannedVideo]] = defaultdict(list)
    for video in videos:
        if video.sha256 is not None:
            same[video.sha256].append(video)
    duplicates = []
    for digest, found in same.items():
        if len(found) > 1:
            classes = tuple(sorted({video.label for video in found}))
            names = tuple(video.name for video in found)
            duplicates.append(Duplicate(digest, names, classes, straddles=len(classes) > 1))
    return tuple(duplicates)
