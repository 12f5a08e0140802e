"""How long a gradient of a model takes on a kind of device, as jobs have measured it: what estimates are made of."""

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from store.database import now
from store.tables import SpeedTable


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
