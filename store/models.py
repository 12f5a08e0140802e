"""The registry: models by name, each a card and the bytes of its checkpoint."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from multav.errors import NotFound
from multav.model_card import ModelCard, read_card
from store import blobs
from store.database import Database, now
from store.paging import Page, page
from store.tables import ModelTable


@dataclass(frozen=True)
class RegisteredModel:
    """A model that can be attacked. Times are seconds since 1970."""

    name: str
    card: ModelCard
    sha256: str
    bytes: int
    blob_id: str
    created_at: float


def register(database: Database, path: Path) -> RegisteredModel:
    """Register the checkpoint at `path` under its card's name, in place of another one of that name.

    Does nothing when the same bytes are registered already. Raises `BadCheckpoint`.
    """
    card = read_card(path)
    with path.open("rb") as file:
        blob = blobs.write(database, file)
    with database.write() as session:
        known = session.get(ModelTable, card.name, with_for_update=True)
        if known is None or known.blob_id != blob.id:
            session.execute(delete(ModelTable).where(ModelTable.name == card.name))
            session.execute(
                insert(ModelTable).values(
                    name=card.name, card=card.model_dump(mode="json"), blob_id=blob.id, created_at=now()
                )
            )
        session.expire_all()
        return get(session, card.name)


def register_shipped(database: Database) -> list[RegisteredModel]:
    """Register every checkpoint that comes with the code."""
    package = find_spec("models")
    if package is None or package.origin is None:
        return []
    return [
        register(database, path)
        for path in sorted(Path(package.origin).parent.glob("checkpoints/*.safetensors"))
    ]


def get(session: Session, name: str) -> RegisteredModel:
    """The model. Raises `NotFound`, naming those that are registered."""
    row = session.get(ModelTable, name)
    if row is None:
        names = session.scalars(select(ModelTable.name).order_by(ModelTable.name).limit(20)).all()
        raise NotFound(f"there is no model {name!r}; registered are: {', '.join(names) or 'none'}")
    return _value(session, row)


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


def _value(session: Session, row: ModelTable) -> RegisteredModel:
    blob = blobs.get(session, row.blob_id)
    return RegisteredModel(
        row.name, ModelCard.model_validate(row.card), blob.sha256, blob.bytes, row.blob_id, row.created_at
    )
