"""The door of datasets: a folder that the operator allows, or an archive of videos, listed before it is registered."""

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError
from sqlalchemy.orm import Session

from multav.attacks.catalogue import in_words
from multav.datasets.catalogue import Dataset, parse_dataset
from multav.errors import BadDataset, InvalidSpec
from multav.names import NAME, NAME_IN_WORDS
from multav.validation import field_errors
from service.context import Context
from service.door import queued
from service.new_job import new_job
from service.once import Accepted, Once
from service.uploads import Submission
from store import blobs, datasets, idempotency
from store.blobs import Blob
from store.dataset_files import unpack_archive

ROUTE: Final = "POST /v1/datasets"
SCANS_ROUTE: Final = "POST /v1/datasets/{name}/scan"


class DatasetUpload(BaseModel):
    """What is said of a dataset beside its kind: the name that requests use, and where its videos lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[StrictStr, Field(pattern=NAME)] = Field(
        description=f"what audits and trainings call it by, {NAME_IN_WORDS}"
    )
    root: Annotated[StrictStr, Field(min_length=1, max_length=4096)] | None = Field(
        None,
        description="the folder of its videos, within the one that the operator allows (MULTAV_DATASETS_DIR)",
    )


def accept_dataset(context: Context, submission: Submission, key: str | None) -> Accepted:
    """List a dataset and register it; the dataset as `subject`.

    Raises `InvalidSpec`, `BadDataset`, `Conflict`, `IdempotencyMismatch`.
    """
    asked, dataset = _parsed(submission.spec)
    meaning = idempotency.request_hash(
        asked.model_dump(mode="json"),
        dataset.model_dump(mode="json"),
        submission.upload.sha256 if submission.upload else None,
    )
    once = Once(context, ROUTE, key, meaning)
    first = once.before()
    if first is not None:
        return first
    if submission.upload is None:
        root = _allowed(context, asked, dataset)
        return _register(once, asked.name, dataset, root, None)
    if asked.root is not None:
        raise InvalidSpec.at("/root", "an archive brings its videos with it: leave root out")
    if not dataset.needs_root:
        raise InvalidSpec.at("/kind", f"a dataset of kind {dataset.kind!r} has no files: send no archive")
    with context.folders.open() as folder:
        unpacked = folder / "dataset"
        unpack_archive(submission.upload.path, unpacked, context.settings)
        with submission.upload.path.open("rb") as file:
            blob = blobs.write(context.database, file)
        return _register(once, asked.name, dataset, unpacked, blob)


def accept_scan(context: Context, name: str, key: str | None) -> Accepted:
    """Queue the integrity scan of a dataset. Raises `NotFound`, `QueueFull` and `IdempotencyMismatch`."""
    once = Once(context, SCANS_ROUTE, key, idempotency.request_hash(name))
    first = once.before()
    if first is not None:
        return first

    def create(session: Session) -> tuple[str, bool]:
        dataset = datasets.hold(session, name)
        spec = {"dataset": dataset.name, "dataset_sha256": dataset.sha256}
        return new_job(session, context, "scan", spec)

    return queued(context, once.make(create), "scan")


def _register(once: Once, name: str, dataset: Dataset, root: Path | None, blob: Blob | None) -> Accepted:
    listing = dataset.listing(root or Path())

    def create(session: Session) -> tuple[str, bool]:
        _, new = datasets.add(
            session,
            name,
            dataset,
            listing,
            root=None if root is None or blob is not None else str(root),
            blob=blob,
            origin="made" if not dataset.needs_root else "folder" if blob is None else "uploaded",
        )
        return datasets.subject_of(name), new

    return once.make(create)


def _parsed(spec: Any) -> tuple[DatasetUpload, Dataset]:
    if not isinstance(spec, dict):
        raise InvalidSpec("the dataset specification must be a JSON object")
    own = {name: value for name, value in spec.items() if name in DatasetUpload.model_fields}
    try:
        asked = DatasetUpload.model_validate(own)
    except ValidationError as error:
        errors = field_errors(error)
        raise InvalidSpec(
            f"the dataset specification is not valid: {in_words(errors)}", errors=errors
        ) from error
    return asked, parse_dataset({name: value for name, value in spec.items() if name not in own})


def _allowed(context: Context, asked: DatasetUpload, dataset: Dataset) -> Path | None:
    """The folder that is asked for, once it is known to lie below the allowed one. Raises `InvalidSpec`."""
    if not dataset.needs_root:
        if asked.root is not None:
            raise InvalidSpec.at("/root", f"a dataset of kind {dataset.kind!r} has no files: leave root out")
        return None
    allowed = context.settings.datasets_dir
    if allowed is None:
        raise InvalidSpec.at(
            "/root",
            "this server registers no folders: its operator sets MULTAV_DATASETS_DIR to the one that holds them; or "
            "send the videos as an archive (multipart, part `archive`)",
        )
    if asked.root is None:
        raise InvalidSpec.at("/root", "say in which folder the videos lie, or send them as an archive")
    try:
        top = allowed.resolve(strict=True)
    except OSError as error:
        raise BadDataset(f"the folder of MULTAV_DATASETS_DIR is not there: {error.strerror}") from error
    if "\0" in asked.root:
        raise InvalidSpec.at("/root", "a path holds no NUL")
    try:
        root = (top / asked.root).resolve()
        is_folder = root.is_dir()
    except (OSError, RuntimeError) as error:
        raise InvalidSpec.at("/root", f"{asked.root[:100]!r} cannot be followed") from error
    if not root.is_relative_to(top):
        raise InvalidSpec.at(
            "/root", f"{asked.root!r} lies outside of the folder that holds this server's datasets"
        )
    if not is_folder:
        raise InvalidSpec.at("/root", f"there is no folder {asked.root!r} among this server's datasets")
    return root
