"""How long a gradient of the network of a training takes: as it was measured, or scaled from what was."""

from dataclasses import dataclass
from math import isclose, log

from sqlalchemy.orm import Session

from models.architecture_macs import multiply_adds
from models.architecture_names import ARCHITECTURE_NAMES
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.training.request import TrainingRequest
from store import speeds
from store.models import RegisteredModel
from store.speeds import MeasuredModel


@dataclass(frozen=True)
class TrainingSpeed:
    """`measured`: kind of device and seconds of one gradient of one clip, None where nothing can be said of them.

    `remark` says what is not exact about it.
    """

    measured: tuple[str, float] | None
    remark: str | None = None


def training_speed(
    session: Session,
    request: TrainingRequest,
    start: RegisteredModel | None,
    *,
    classes: int,
    geometry: InputGeometry,
) -> TrainingSpeed:
    """Of the network that `request` trains, which tells so many `classes` apart and sees clips of `geometry`.

    The speed of `start` is scaled by multiply-adds where the training changes its input or its layers; without one, the
    speed of the network that is nearest in them, of those that were measured on the device that was measured last.
    """
    wanted = _wanted(request, start, classes, geometry)
    if start is not None:
        known = speeds.seconds_of(session, start.sha256, request.precision)
        before = _multiply_adds(start.card)
        if known is not None and before is not None:
            return _scaled(known, start, wanted / before)
    nearest = _nearest(speeds.of_models(session), request.precision, wanted)
    if nearest is None:
        return TrainingSpeed(
            None,
            "no time: the speed of a network was never measured here; an audit of a few clips measures one "
            "(subset.count), and the first minute of the job tells it as well",
        )
    model, times = nearest
    whose = request.start.architecture if start is None else start.name
    return TrainingSpeed(
        (model.device, model.seconds * times),
        f"the time is rough, and may be wrong by a factor of three: the speed of {whose} was never measured here, and "
        f"is guessed from that of {model.name}, which multiplies {1 / times:.3g} times as much for a clip",
    )


def _scaled(known: tuple[str, float], start: RegisteredModel, times: float) -> TrainingSpeed:
    device, seconds = known
    # Another number of classes is no other network.
    if isclose(times, 1, rel_tol=0.01):
        return TrainingSpeed(known)
    seen = start.card.geometry
    return TrainingSpeed(
        (device, seconds * times),
        f"the time is rough: the speed of {start.name} was measured as it is, on clips of {seen.frames} frames of "
        f"{seen.height}x{seen.width}; what is trained multiplies {times:.3g} times as much for a clip, and is taken to "
        "need as much more, or less, time",
    )


def _nearest(
    measured: list[MeasuredModel], precision: str, wanted: int
) -> tuple[MeasuredModel, float] | None:
    """The model whose speed says most, and how many times as much the wanted network multiplies."""
    found = [
        (each, wanted / counted)
        for each in measured
        if each.device == measured[0].device and (counted := _multiply_adds(each.card))
    ]
    # Small networks fill a device less well than large ones: the nearer in size, the nearer in speed.
    return min(found, key=lambda pair: (pair[0].precision != precision, abs(log(pair[1]))), default=None)


def _wanted(
    request: TrainingRequest, start: RegisteredModel | None, classes: int, geometry: InputGeometry
) -> int:
    given = request.start.arguments
    if start is None:
        return multiply_adds(str(request.start.architecture), given, classes=classes, geometry=geometry)
    card = start.card
    return multiply_adds(card.architecture, card.arguments | given, classes=classes, geometry=geometry)


def _multiply_adds(card: ModelCard) -> int | None:
    """Of a registered model; an operator's own code has what its card says of it, if anything."""
    if card.architecture not in ARCHITECTURE_NAMES:
        return card.macs
    return multiply_adds(card.architecture, card.arguments, classes=len(card.classes), geometry=card.geometry)
