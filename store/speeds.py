"""How long a gradient of a model takes on a kind of device, as jobs have measured it: what estimates are made of."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from multav.model_card import ModelCard
from store.database import now
from store.tables import ModelTable, SpeedTable

_MOST: Final = 100


@dataclass(frozen=True)
class MeasuredModel:
    """A registered model, and the seconds that one gradient of one clip took on that kind of device."""

    name: str
    card: ModelCard
    device: str
    precision: str
    seconds: float


def note(session: Session, *, model_sha256: str, device: str, precision: str, seconds: float) -> None:
    """Keep the seconds that one gradient of one clip took, in place of an older measurement."""
    try:
        with session.begin_nested():
            session.execute(
                delete(SpeedTable).where(
                    SpeedTable.model_sha256 == model_sha256,
                    SpeedTable.device == device,
                    SpeedTable.precision == precision,
                )
            )
            session.execute(
                insert(SpeedTable).values(
                    model_sha256=model_sha256,
                    device=device,
                    precision=precision,
                    seconds=seconds,
                    measured_at=now(),
                )
            )
    except IntegrityError:
        # Somebody else has measured in the same moment; theirs is as good.
        return


def seconds_of(session: Session, model_sha256: str, precision: str) -> tuple[str, float] | None:
    """Device and seconds of one gradient as measured last, of this precision if there is one; None: never measured."""
    row = session.execute(
        select(SpeedTable.device, SpeedTable.seconds)
        .where(SpeedTable.model_sha256 == model_sha256)
        .order_by((SpeedTable.precision == precision).desc(), SpeedTable.measured_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def of_models(session: Session) -> list[MeasuredModel]:
    """What was measured of models that are registered now, the latest first, a hundred of them at most."""
    rows = session.execute(
        select(ModelTable.name, ModelTable.card, SpeedTable.device, SpeedTable.precision, SpeedTable.seconds)
        .join(SpeedTable, SpeedTable.model_sha256 == ModelTable.sha256)
        .order_by(SpeedTable.measured_at.desc(), ModelTable.name)
        .limit(_MOST)
    )
    return [
        MeasuredModel(name, ModelCard.model_validate(card), device, precision, seconds)
        for name, card, device, precision, seconds in rows
    ]
