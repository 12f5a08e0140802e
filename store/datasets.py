"""The catalogue of datasets: a specification, where the videos lie, and what is listed there.

A dataset is built in (`shipped`), lies in a folder that every worker sees, was uploaded as an archive, or is made. Its
SHA-256 stands for classes, names, labels and groups; jobs are run against that listing and no other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from multav.datasets.catalogue import BUILT_IN, AnyDataset, parse_dataset
from multav.datasets.listing import Listing
from multav.datasets.scan import dataset_sha256
from multav.errors import BadDataset, Conflict, NotFound
from store import idempotency, jobs
from store.blobs import Blob
from store.database import Database, now
from store.paging import Page, page
from store.tables import DatasetTable

Origin = Literal["shipped", "folder", "uploaded", "made"]
_MOST_NAMED: Final = 100


@dataclass(frozen=True)
class RegisteredDataset:
    """A dataset that audits and trainings may use. `listing` counts what is there; times are seconds since 1970.

    `root` is a folder that every worker sees; with a `blob_id` the videos come out of that archive instead.
    """

    name: str
    spec: dict[str, Any]
    root: str | None
    blob_id: str | None
    sha256: str
    listing: dict[str, Any]
    origin: Origin
    created_at: float

    @property
    def dataset(self) -> AnyDataset:
        """The specification."""
        return parse_dataset(self.spec)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices."""
        return tuple(self.listing["classes"])


def listed_in_short(listing: Listing) -> dict[str, Any]:
    """What a listing holds, counted, and what is odd about it."""
    per_class = [0] * len(listing.classes)
    for video in listing.videos:
        per_class[video.label] += 1
    return {
        "classes": list(listing.classes),
        "videos": len(listing.videos),
        "videos_per_class": per_class,
        "groups": len({(video.label, video.group) for video in listing.videos}),
        "missing": len(listing.missing),
        "missing_names": list(listing.missing[:_MOST_NAMED]),
        "remarks": list(listing.remarks),
    }


def listing_of(found: RegisteredDataset, root: Path | None) -> Listing:
    """What lies in the dataset's folder now. Raises `BadDataset`, and `Conflict` when it is not what was registered."""
    listing = found.dataset.listing(root or Path())
    if dataset_sha256(listing) != found.sha256:
        raise Conflict(
            f"the files of dataset {found.name!r} are not those that were registered: another video, label or class "
            "is listed now; delete the dataset and register it again"
        )
    return listing


def register_shipped(database: Database) -> None:
    """Register the datasets that need no files."""
    for name, dataset in BUILT_IN.items():
        listing = dataset.listing(Path())
        with database.write() as session:
            known = session.get(DatasetTable, name)
            if known is not None and known.sha256 == dataset_sha256(listing):
                continue
            if known is not None:
                session.execute(delete(DatasetTable).where(DatasetTable.name == name))
                session.expire_all()
            add(session, name, dataset, listing, root=None, blob=None, origin="shipped")


def add(
    session: Session,
    name: str,
    dataset: AnyDataset,
    listing: Listing,
    *,
    root: str | None,
    blob: Blob | None,
    origin: Origin,
) -> tuple[RegisteredDataset, bool]:
    """Register a dataset; it and whether it is new: the same one again changes nothing.

    Raises `BadDataset` for one without a video, and `Conflict` when the name is taken by another.
    """
    if not listing.videos:
        raise BadDataset(
            "the dataset lists no video that is there: check the folder, the lists and the subset"
        )
    sha256 = dataset_sha256(listing)
    values = {
        "name": name,
        "spec": dataset.model_dump(mode="json"),
        "root": root,
        "blob_id": None if blob is None else blob.id,
        "sha256": sha256,
        "listing": listed_in_short(listing),
        "origin": origin,
        "created_at": now(),
    }
    try:
        with session.begin_nested():
            session.execute(insert(DatasetTable).values(values))
    except IntegrityError:
        known = get(session, name)
        same = (known.sha256, known.root, known.spec) == (sha256, root, values["spec"])
        if not same or (known.blob_id is None) != (blob is None):
            raise Conflict(
                f"another dataset is registered as {name!r}: delete it (DELETE /v1/datasets/{name}), or choose "
                "another name"
            ) from None
        return known, False
    return get(session, name), True


def get(session: Session, name: str) -> RegisteredDataset:
    """The dataset. Raises `NotFound`, naming those that are registered."""
    row = _row(session, name)
    if row is None:
        raise _unknown(session, name)
    return _value(row)


def hold(session: Session, name: str) -> RegisteredDataset:
    """As `get`, and the dataset stays until the transaction ends: what is written in it may refer to the dataset."""
    row = _row(session, name, with_for_update={"read": True}, populate_existing=True)
    if row is None:
        raise _unknown(session, name)
    return _value(row)


def listed(session: Session, *, limit: int = 50, cursor: str | None = None) -> Page[RegisteredDataset]:
    """Datasets, newest first."""
    return page(
        session,
        select(DatasetTable),
        (DatasetTable.created_at, DatasetTable.name),
        limit=limit,
        cursor=cursor,
        key=lambda row: (row.created_at, row.name),
        value=_value,
    )


def archives(session: Session) -> set[str]:
    """Ids of the blobs that hold the archives of registered datasets."""
    return set(session.scalars(select(DatasetTable.blob_id).where(DatasetTable.blob_id.is_not(None))).all())  # type: ignore[arg-type]


def remove(session: Session, name: str) -> None:
    """Forget a dataset; files in a folder stay where they are, an uploaded archive goes.

    Raises `NotFound`, and `Conflict` while jobs use it, or for one that is built in.
    """
    row = _row(session, name, with_for_update=True, populate_existing=True)
    if row is None:
        raise _unknown(session, name)
    if row.origin == "shipped":
        raise Conflict(
            f"dataset {name!r} is built in and would be back at the next start: it stays registered"
        )
    using = jobs.count_unfinished(session, "dataset", name)
    if using:
        raise Conflict(
            f"dataset {name!r} is used by {using} {'job that waits or runs' if using == 1 else 'jobs that wait or run'}"
            ": cancel them or wait for their end, then delete it"
        )
    session.execute(delete(DatasetTable).where(DatasetTable.name == name))
    idempotency.forget(session, subject_of(name))


def subject_of(name: str) -> str:
    """The dataset as the subject of an Idempotency-Key."""
    return f"datasets/{name}"


def name_in(subject: str) -> str:
    """The name in what `subject_of` gave."""
    return subject.removeprefix("datasets/")


def _row(session: Session, name: str, **how: Any) -> DatasetTable | None:
    """The row of that name; PostgreSQL does not even compare with a text that holds a NUL."""
    return None if "\0" in name else session.get(DatasetTable, name, **how)


def _unknown(session: Session, name: str) -> NotFound:
    names = session.scalars(select(DatasetTable.name).order_by(DatasetTable.name).limit(20)).all()
    return NotFound(f"there is no dataset {name!r}; registered are: {', '.join(names) or 'none'}")


def _value(row: DatasetTable) -> RegisteredDataset:
    return RegisteredDataset(
        name=row.name,
        spec=row.spec,
        root=row.root,
        blob_id=row.blob_id,
        sha256=row.sha256,
        listing=row.listing,
        origin=row.origin,  # type: ignore[arg-type]
        created_at=row.created_at,
    )
