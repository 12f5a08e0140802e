"""The registry: models by name, each a card and the bytes of its checkpoint.

A model is shipped with the code, put by the operator into a folder or declared as code of their own, uploaded, or made
by a training. What the operator declares is registered at every start, in place of what it was before; an upload or a
training never takes the place of anything. A row is written once its bytes are complete, so that nobody ever sees half
a model.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from multav.errors import Conflict, InvalidSpec, NotFound
from multav.model_card import ModelCard, read_card
from store import blobs, idempotency, jobs
from store.blobs import Blob
from store.database import Database, now
from store.paging import Page, page
from store.tables import ModelTable

Origin = Literal["shipped", "folder", "own", "uploaded", "trained"]
FIRST_VERSION: Final = "1"
"""What a card says that says nothing of its version."""
_LONGEST_NAME: Final = 100


@dataclass(frozen=True)
class RegisteredModel:
    """A model that can be attacked. Times are seconds since 1970.

    An operator's own code (`origin` "own") has no checkpoint: no `blob_id`, no `bytes`.
    """

    name: str
    card: ModelCard
    sha256: str
    bytes: int | None
    blob_id: str | None
    origin: Origin
    created_at: float


def name_of(card: ModelCard) -> str:
    """The name that requests call the model by. Raises `InvalidSpec` as `full_name` does."""
    return full_name(card.name, card.version)


def full_name(name: str, version: str) -> str:
    """A card's name, and behind an `@` the version unless that is the first. Raises `InvalidSpec` when too long."""
    if version != FIRST_VERSION:
        name = f"{name}@{version}"
    if len(name) > _LONGEST_NAME:
        raise InvalidSpec(
            f"name and version together have {len(name)} characters: {_LONGEST_NAME} are allowed",
            errors=[{"pointer": "/name", "detail": f"at most {_LONGEST_NAME} characters with the version"}],
        )
    return name


def register(database: Database, path: Path, *, origin: Origin = "shipped") -> RegisteredModel:
    """Register the checkpoint at `path` as its card says, in place of an older one of that name and origin.

    Does nothing when the same bytes are registered already. Raises `BadCheckpoint`, and `Conflict` as `declare` does.
    """
    card = read_card(path)
    with path.open("rb") as file:
        blob = blobs.write(database, file)
    with database.write() as session:
        return declare(session, card, sha256=blob.sha256, blob=blob, origin=origin)


def register_shipped(database: Database) -> list[RegisteredModel]:
    """Register every checkpoint that comes with the code."""
    package = find_spec("models")
    if package is None or package.origin is None:
        return []
    return [
        register(database, path)
        for path in sorted(Path(package.origin).parent.glob("checkpoints/*.safetensors"))
    ]


def declare(
    session: Session,
    card: ModelCard,
    *,
    sha256: str,
    blob: Blob | None,
    origin: Origin,
    upload_hash: str | None = None,
) -> RegisteredModel:
    """Register what the operator has, in place of an older one of that name and origin.

    Raises `Conflict` when the name belongs to a model of another origin.
    """
    known = _locked(session, name_of(card))
    if known is not None and known.sha256 != sha256:
        if known.origin != origin:
            raise Conflict(
                f"the name {known.name!r} belongs to a model of another origin ({known.origin}): delete that one, or "
                "choose another name or version"
            )
        session.execute(delete(ModelTable).where(ModelTable.name == known.name))
        session.expire_all()
        known = None
    if known is None:
        return _insert(session, card, sha256=sha256, blob=blob, origin=origin, upload_hash=upload_hash)
    return _value(session, known)


def add(session: Session, card: ModelCard, blob: Blob, *, upload_hash: str) -> tuple[RegisteredModel, bool]:
    """Register an uploaded model; the model and whether it is new: the same upload again changes nothing.

    Raises `Conflict` when the name is taken by another model.
    """
    known = _locked(session, name_of(card))
    if known is not None:
        if upload_hash != known.upload_hash and blob.sha256 != known.sha256:
            raise taken(known.name)
        return _value(session, known), False
    made = _insert(session, card, sha256=blob.sha256, blob=blob, origin="uploaded", upload_hash=upload_hash)
    return made, True


def add_trained(session: Session, card: ModelCard, blob: Blob) -> RegisteredModel:
    """Register what a training made; the same again changes nothing. Raises `Conflict` when the name is taken."""
    known = _locked(session, name_of(card))
    if known is None:
        return _insert(session, card, sha256=blob.sha256, blob=blob, origin="trained", upload_hash=None)
    if known.origin != "trained" or known.sha256 != blob.sha256:
        raise taken(known.name)
    return _value(session, known)


def taken(name: str) -> Conflict:
    """The refusal of a name that another model has."""
    return Conflict(
        f"another model is registered as {name!r}: delete it (DELETE /v1/models/{name}), or choose another `name` or "
        "`version`"
    )


def get(session: Session, name: str) -> RegisteredModel:
    """The model. Raises `NotFound`, naming those that are registered."""
    row = _row(session, name)
    if row is None:
        raise _unknown(session, name)
    return _value(session, row)


def hold(session: Session, name: str) -> RegisteredModel:
    """As `get`, and the model stays until the transaction ends: what is written in it may refer to the model."""
    row = _row(session, name, with_for_update={"read": True}, populate_existing=True)
    if row is None:
        raise _unknown(session, name)
    return _value(session, row)


def find(session: Session, name: str) -> RegisteredModel | None:
    """The model, if there is one of that name."""
    row = _row(session, name)
    return None if row is None else _value(session, row)


def uploaded_as(session: Session, upload_hash: str) -> RegisteredModel | None:
    """The model that came of an earlier request of the same meaning and bytes, if it is still there."""
    row = session.scalar(select(ModelTable).where(ModelTable.upload_hash == upload_hash).limit(1))
    return None if row is None else _value(session, row)


def with_sha256(session: Session, sha256: str) -> RegisteredModel | None:
    """The model of these bytes, if there is one; its name is part of them."""
    row = session.scalar(select(ModelTable).where(ModelTable.sha256 == sha256).limit(1))
    return None if row is None else _value(session, row)


def listed(session: Session, *, limit: int = 50, cursor: str | None = None) -> Page[RegisteredModel]:
    """Models, newest first."""
    return page(
        session,
        select(ModelTable),
        (ModelTable.created_at, ModelTable.name),
        limit=limit,
        cursor=cursor,
        key=lambda row: (row.created_at, row.name),
        value=lambda row: _value(session, row),
    )


def remove(session: Session, name: str) -> None:
    """Delete a model. Raises `NotFound`, and `Conflict` while jobs use it, or for one that comes with the code.

    Jobs that have ended keep their results; their specification says which model they used.
    """
    # Whoever is posting a job for it holds the row: after the lock, that job is there to be seen.
    row = _locked(session, name)
    if row is None:
        raise _unknown(session, name)
    if row.origin == "shipped":
        raise Conflict(
            f"model {name!r} comes with the code and would be back at the next start: it stays registered"
        )
    using = jobs.count_unfinished(session, "model", name)
    if using:
        raise Conflict(
            f"model {name!r} is used by {using} {'job that waits or runs' if using == 1 else 'jobs that wait or run'}"
            ": cancel them or wait for their end, then delete it"
        )
    session.execute(delete(ModelTable).where(ModelTable.name == name))
    idempotency.forget(session, subject_of(name))


def subject_of(name: str) -> str:
    """The model as the subject of an Idempotency-Key; names are chosen by users, so they need a word before them."""
    return f"models/{name}"


def name_in(subject: str) -> str:
    """The name in what `subject_of` gave."""
    return subject.removeprefix("models/")


def _locked(session: Session, name: str) -> ModelTable | None:
    return _row(session, name, with_for_update=True, populate_existing=True)


def _row(session: Session, name: str, **how: Any) -> ModelTable | None:
    """The row of that name; PostgreSQL does not even compare with a text that holds a NUL."""
    return None if "\0" in name else session.get(ModelTable, name, **how)


def _insert(
    session: Session,
    card: ModelCard,
    *,
    sha256: str,
    blob: Blob | None,
    origin: Origin,
    upload_hash: str | None,
) -> RegisteredModel:
    name = name_of(card)
    try:
        with session.begin_nested():
            session.execute(
                insert(ModelTable).values(
                    name=name,
                    card=card.model_dump(mode="json"),
                    sha256=sha256,
                    blob_id=None if blob is None else blob.id,
                    origin=origin,
                    upload_hash=upload_hash,
                    created_at=now(),
                )
            )
    except IntegrityError:
        # Somebody else took the name in the same moment; the same bytes, or of the same request, are as good as ours.
        known = _row(session, name)
        if known is None:
            raise Conflict("the bytes were deleted while the model was registered: send it again") from None
        if known.sha256 != sha256 and (upload_hash is None or known.upload_hash != upload_hash):
            raise taken(name) from None
    return get(session, name)


def _unknown(session: Session, name: str) -> NotFound:
    names = session.scalars(select(ModelTable.name).order_by(ModelTable.name).limit(20)).all()
    return NotFound(f"there is no model {name!r}; registered are: {', '.join(names) or 'none'}")


def _value(session: Session, row: ModelTable) -> RegisteredModel:
    size = None if row.blob_id is None else blobs.get(session, row.blob_id).bytes
    return RegisteredModel(
        name=row.name,
        card=ModelCard.model_validate(row.card),
        sha256=row.sha256,
        bytes=size,
        blob_id=row.blob_id,
        origin=row.origin,  # type: ignore[arg-type]
        created_at=row.created_at,
    )
