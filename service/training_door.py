"""The door of trainings: start, datasets and attacks are checked against each other before a job is accepted."""

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from models.architecture_arguments import wrong_arguments
from models.architecture_names import ARCHITECTURE_NAMES
from multav.audits.request import Subset
from multav.errors import Conflict, FieldError, InvalidSpec, NotFound
from multav.geometry import InputGeometry
from multav.given_geometry import GivenGeometry
from multav.training.audit_after import audited_on, why_no_audit
from multav.training.estimate import TrainingEstimate, estimate
from multav.training.request import PAPER_GEOMETRY, Mixture, TrainingRequest
from multav.training.videos import about_set_aside
from service.alive_workers import alive_workers
from service.context import Context
from service.door import queued
from service.fitting_attacks import refuse_few_classes, refuse_large_region
from service.machine import most_devices
from service.named_things import named_dataset, named_model, videos_per_class
from service.new_job import new_job
from service.once import Accepted, Once
from service.training_speed import training_speed
from store import datasets, idempotency, jobs, models
from store.datasets import RegisteredDataset
from store.models import RegisteredModel
from store.wanted_names import hold_wanted
from store.workers import Worker

TRAININGS_ROUTE: Final = "POST /v1/trainings"
_LONGEST_NAME: Final = 100
_FEW: Final = 8


@dataclass(frozen=True)
class _Checked:
    """A request with every default spelled out, and what it is about."""

    request: TrainingRequest
    start: RegisteredModel | None
    geometry: InputGeometry
    classes: int
    train_clips: int
    validation_clips: int
    remarks: tuple[str, ...]


def accept_training(context: Context, body: Any, key: str | None) -> Accepted:
    """Check a request for a training and queue the job.

    Raises `InvalidSpec`, `Conflict` for a name that is taken, `QueueFull`, `IdempotencyMismatch`.
    """
    asked = TrainingRequest.parse(body)
    once = Once(context, TRAININGS_ROUTE, key, idempotency.request_hash(asked.model_dump(mode="json")))
    first = once.before()
    if first is not None:
        return first
    with context.database.read() as session:
        request = _checked(session, context, asked).request
    name, spec = str(request.name), request.model_dump(mode="json")

    def create(session: Session) -> tuple[str, bool]:
        hold_wanted(session, name)
        _refuse_taken(session, name)
        return new_job(session, context, "training", spec, makes=[("model", name)])

    return queued(context, once.make(create), "training")


def estimate_training(context: Context, body: Any) -> TrainingEstimate:
    """What the training would cost. Raises `InvalidSpec` and `Conflict` where it would not be accepted."""
    asked = TrainingRequest.parse(body)
    with context.database.read() as session:
        found = _checked(session, context, asked)
        _refuse_taken(session, str(found.request.name))
        speed = training_speed(
            session, found.request, found.start, classes=found.classes, geometry=found.geometry
        )
        alive = len(alive_workers(session))
    return estimate(
        found.request,
        train_clips=found.train_clips,
        validation_clips=found.validation_clips,
        geometry=found.geometry,
        parameters=None if found.start is None else found.start.card.parameters,
        speed=speed.measured,
        workers=alive,
        remarks=found.remarks if speed.remark is None else (*found.remarks, speed.remark),
    )


def _checked(session: Session, context: Context, asked: TrainingRequest) -> _Checked:
    """The request with model and datasets named and pinned, once they fit each other. Raises `InvalidSpec`."""
    _refuse_rare_checkpoints(asked, context.settings.job_time_limit_seconds)
    _refuse_many_devices(asked, alive_workers(session))
    start = _start(session, context, asked)
    _refuse_wrong_arguments(asked, start)
    dataset = named_dataset(session, asked.dataset, asked.dataset_sha256)
    per_class = videos_per_class(dataset, asked.subset)
    classes = tuple(per_class)
    if len(classes) < 2:
        raise InvalidSpec.at("/subset/classes", "a classifier tells two classes apart at least: name another")
    videos = sum(per_class.values())
    if videos < 2:
        raise InvalidSpec.at("/subset", "a training needs two videos at least")
    geometry = _geometry(asked, start)
    whose = asked.start.architecture if start is None else start.name
    for pointer, attack in asked.named_attacks:
        refuse_few_classes(attack, classes, pointer)
        refuse_large_region(attack, geometry, pointer, str(whose))
    validation = _validation(session, asked, classes)
    if validation is None:
        listed, groups = dataset.listing["videos"], dataset.listing["groups"]
        validation_clips = about_set_aside(
            per_class.values(),
            asked.validation.share,
            per_group=listed / max(1, groups),
            drawn=videos / sum(videos_per_class(dataset, Subset(classes=asked.subset.classes)).values()),
        )
        if not validation_clips and listed == groups:
            raise InvalidSpec.at(
                "/validation",
                "the videos cannot be divided: one class at least needs two of them; name a validation dataset",
            )
        train_clips = max(1, videos - validation_clips)
    else:
        train_clips = videos
        validation_clips = sum(videos_per_class(validation, Subset(classes=classes)).values())
    pinned_start = {
        "model": None if start is None else start.name,
        "model_sha256": None if start is None else start.sha256,
        "geometry": GivenGeometry.of(geometry),
        "head": _head(asked, start, dataset.name, classes),
    }
    pinned_validation = {"dataset_sha256": None if validation is None else validation.sha256}
    request = asked.model_copy(
        update={
            "name": asked.name or _made_up(session, asked, start),
            "start": asked.start.model_copy(update=pinned_start),
            "dataset_sha256": dataset.sha256,
            "validation": asked.validation.model_copy(update=pinned_validation),
        }
    )
    return _Checked(
        request,
        start,
        geometry,
        len(classes),
        train_clips,
        min(validation_clips, asked.validation.clips),
        _no_audit(session, request, classes),
    )


def _refuse_rare_checkpoints(asked: TrainingRequest, limit_seconds: float) -> None:
    """A job that keeps nothing for so long is taken for one that hangs."""
    if asked.checkpoint_minutes * 60 >= limit_seconds:
        raise InvalidSpec.at(
            "/checkpoint_minutes",
            f"a job must keep a result within {limit_seconds:g} s (MULTAV_JOB_TIME_LIMIT_SECONDS): keep checkpoints "
            "more often",
        )


def _refuse_many_devices(asked: TrainingRequest, alive: Sequence[Worker]) -> None:
    """Raise `InvalidSpec` for more devices than any worker has that is there, where that is known."""
    most = most_devices(alive)
    if most is not None and asked.devices > asked.hosts * most[0]:
        count, what = most
        raise InvalidSpec.at(
            "/devices",
            f"the machine of the workers has {count} {what}: ask for as many at most, or start a worker where there "
            "are more",
        )


def _start(session: Session, context: Context, asked: TrainingRequest) -> RegisteredModel | None:
    """The model that the training starts from; None for the random weights of an architecture that is known."""
    architecture = asked.start.architecture
    if architecture is not None:
        if architecture not in ARCHITECTURE_NAMES:
            raise InvalidSpec.at(
                "/start/architecture",
                f"the architecture {architecture!r} is not known; known are: {', '.join(ARCHITECTURE_NAMES)}",
            )
        return None
    model = named_model(
        session,
        asked.start.model or context.settings.default_model,
        asked.start.model_sha256,
        pointer="/start/model",
        sha256_pointer="/start/model_sha256",
    )
    if model.blob_id is None:
        raise InvalidSpec.at(
            "/start/model",
            f"model {model.name!r} is the operator's own code, whose weights are not kept here: start from a "
            "checkpoint or an architecture",
        )
    return model


def _refuse_wrong_arguments(asked: TrainingRequest, start: RegisteredModel | None) -> None:
    """Raise `InvalidSpec` for arguments that no network can be built with; beside a model's own they count first."""
    given = asked.start.arguments
    if start is None:
        wrong = wrong_arguments(str(asked.start.architecture), given)
    else:
        wrong = wrong_arguments(start.card.architecture, start.card.arguments | given)
    if wrong:
        # A model's own argument may be wrong only beside those that are given.
        errors = [
            FieldError(
                pointer=f"/start/arguments/{name}" if name in given else "/start/arguments", detail=detail
            )
            for name, detail in wrong.items()
        ]
        raise InvalidSpec("; ".join(wrong.values()), errors=errors)


def _geometry(asked: TrainingRequest, start: RegisteredModel | None) -> InputGeometry:
    """What the network sees: what is given, and beyond that what the model saw, or the paper's networks.

    Raises `InvalidSpec` where that does not fit together.
    """
    try:
        return asked.start.geometry_on(PAPER_GEOMETRY if start is None else start.card.geometry)
    except ValueError as error:
        raise InvalidSpec.at("/start/geometry", str(error)) from error


def _validation(
    session: Session, asked: TrainingRequest, classes: Collection[str]
) -> RegisteredDataset | None:
    """The validation dataset, if one is named; it must show all classes of the training."""
    if asked.validation.dataset is None:
        return None
    dataset = named_dataset(
        session, asked.validation.dataset, asked.validation.dataset_sha256, pointer="/validation/dataset"
    )
    lacking = [name for name in classes if name not in dataset.classes]
    if lacking:
        raise InvalidSpec.at(
            "/validation/dataset",
            f"dataset {dataset.name!r} does not have {len(lacking)} of the {len(classes)} classes of the training: "
            f"{_few(lacking)}",
        )
    return dataset


def _head(
    asked: TrainingRequest, start: RegisteredModel | None, dataset: str, classes: Collection[str]
) -> str:
    """Whether the last layer is kept. Raises `InvalidSpec` where it should be and cannot."""
    if start is None or asked.start.head == "new":
        return "new"
    known = set(start.card.classes)
    if known == set(classes):
        return "keep"
    if asked.start.head == "keep":
        lacking, beyond = [name for name in classes if name not in known], sorted(known - set(classes))
        differ = [
            f"{verb} {len(names)} {what}: {_few(names)}"
            for verb, names, what in (
                ("does not know", lacking, "of its classes"),
                ("knows", beyond, "that it does not have"),
            )
            if names
        ]
        raise InvalidSpec.at(
            "/start/head",
            f"the head cannot be kept: for dataset {dataset!r}, model {start.name!r} {'; and '.join(differ)}. Take "
            "head new",
        )
    return "new"


def _no_audit(session: Session, request: TrainingRequest, classes: Collection[str]) -> tuple[str, ...]:
    """Why the model is not going to be audited though it should be, as far as that is known now."""
    name = audited_on(request)
    if name is None:
        return ()
    try:
        why = why_no_audit(name, datasets.get(session, name).classes, classes)
    except NotFound as error:
        why = f"no audit: {error.detail}"
    return () if why is None else (why,)


def _made_up(session: Session, asked: TrainingRequest, start: RegisteredModel | None) -> str:
    """A name that is free: what it starts from, what it is hardened against, and a few digits."""
    begun = str(asked.start.architecture) if start is None else start.card.name
    against = (
        "clean"
        if asked.attack is None
        else "mixture"
        if isinstance(asked.attack, Mixture)
        else asked.attack.kind
    )
    while True:
        ending = f"-{against}-{secrets.token_hex(3)}"
        plain = re.sub(r"[^a-z0-9._-]+", "-", begun.lower()).lstrip("._-") or "model"
        name = plain[: _LONGEST_NAME - len(ending)] + ending
        if models.find(session, name) is None:
            return name


def _refuse_taken(session: Session, name: str) -> None:
    """Raise `Conflict` for a name that a model has, or that one is going to have that is being made."""
    if models.find(session, name) is not None:
        raise models.taken(name)
    if jobs.count_unfinished(session, "model", name):
        raise Conflict(f"another training is making a model {name!r}: choose another `name`, or leave it out")


def _few(names: Sequence[str]) -> str:
    more = len(names) - _FEW
    return ", ".join(map(repr, names[:_FEW])) + (f" and {more} more" if more > 0 else "")
