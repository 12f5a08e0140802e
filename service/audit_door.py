"""The door of audits: models, dataset and attacks are checked against each other before a job is accepted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from multav.attack_request import refuse_misfit
from multav.audits.class_order import common_classes
from multav.audits.estimate import AuditEstimate, estimate
from multav.audits.request import PRIORITIES, AuditRequest
from multav.errors import FieldError, InvalidSpec, NotFound
from service.context import Context
from service.door import queued, refuse_when_full
from service.once import Accepted, Once
from store import datasets, idempotency, jobs, models, speeds, workers
from store.datasets import RegisteredDataset
from store.models import RegisteredModel

AUDITS_ROUTE: Final = "POST /v1/audits"
_FRESH_SECONDS: Final = 10.0
_FEWEST_CLASSES: Final = {"dlr": 3, "dlr-targeted": 4}


@dataclass(frozen=True)
class _Checked:
    """A request with every default spelled out, and what it is about."""

    request: AuditRequest
    models: tuple[RegisteredModel, ...]
    dataset: RegisteredDataset
    clips: int


def accept_audit(context: Context, body: Any, key: str | None) -> Accepted:
    """Check an audit request and queue the job.

    Raises `InvalidSpec`, `QueueFull`, `IdempotencyMismatch`.
    """
    asked = AuditRequest.parse(body)
    once = Once(context, AUDITS_ROUTE, key, idempotency.request_hash(asked.model_dump(mode="json")))
    first = once.before()
    if first is not None:
        return first
    with context.database.read() as session:
        request = _checked(session, context, asked).request

    def create(session: Session) -> tuple[str, bool]:
        refuse_when_full(session, context.settings.max_queued_jobs)
        # They may have been deleted since they were looked up; from here on they cannot be until the job is there.
        for index, name in enumerate(request.models):
            _held(models.hold, session, name, f"/models/{index}")
        _held(datasets.hold, session, request.dataset, "/dataset")
        uses: list[jobs.Use] = [("model", name) for name in request.models]
        job = jobs.create(
            session,
            kind="audit",
            spec=request.model_dump(mode="json"),
            uses=[*uses, ("dataset", request.dataset)],
            priority=PRIORITIES[request.priority],
            max_attempts=context.settings.max_attempts,
        )
        return job.id, True

    return queued(context, once.make(create), "audit")


def estimate_audit(context: Context, body: Any) -> AuditEstimate:
    """What the audit would cost. Raises `InvalidSpec` where it would not be accepted."""
    asked = AuditRequest.parse(body)
    with context.database.read() as session:
        found = _checked(session, context, asked)
        known = {
            model.name: speeds.seconds_of(session, model.sha256, found.request.precision)
            for model in found.models
        }
        alive = len(workers.alive(session, within_seconds=_FRESH_SECONDS))
    return estimate(
        found.request,
        clips=found.clips,
        geometries={model.name: model.card.geometry for model in found.models},
        parameters={model.name: model.card.parameters for model in found.models},
        speeds={name: speed for name, speed in known.items() if speed is not None},
        workers=alive,
    )


def _checked(session: Session, context: Context, asked: AuditRequest) -> _Checked:
    """The request with models and dataset named and pinned, once they fit each other. Raises `InvalidSpec`."""
    names = asked.models or (context.settings.default_model,)
    found = tuple(
        _model(session, name, index, asked.model_sha256.get(name)) for index, name in enumerate(names)
    )
    strangers = sorted(set(asked.model_sha256) - set(names))
    if strangers:
        raise InvalidSpec.at(
            "/model_sha256", f"no model of this audit is named {', '.join(map(repr, strangers))}"
        )
    dataset = _dataset(session, asked)
    classes = common_classes(
        dataset.name, dataset.classes, {model.name: model.card.classes for model in found}
    )
    for index, attack in enumerate(asked.attacks):
        fewest = _FEWEST_CLASSES.get(attack.loss, 2)
        if len(classes) < fewest:
            raise InvalidSpec.at(
                f"/attacks/{index}/loss",
                f"loss {attack.loss} needs {fewest} classes, and there are {len(classes)}",
            )
        for model in found:
            try:
                refuse_misfit(attack, model.card.geometry)
            except InvalidSpec as error:
                errors = [
                    FieldError(
                        pointer=each["pointer"].replace("/attack", f"/attacks/{index}", 1),
                        detail=f"{each['detail']} (what {model.name} sees)",
                    )
                    for each in error.errors
                ]
                raise InvalidSpec(errors[0]["detail"], errors=errors) from error
    if asked.transfer:
        _refuse_odd_sizes(found)
    clips = _clips(dataset, asked)
    pinned = asked.spelled_out().model_copy(
        update={
            "models": tuple(model.name for model in found),
            "model_sha256": {model.name: model.sha256 for model in found},
            "dataset_sha256": dataset.sha256,
        }
    )
    return _Checked(pinned, found, dataset, clips)


def _refuse_odd_sizes(found: Sequence[RegisteredModel]) -> None:
    """A clip that was crafted on one model is shown to the others as it is: they must take it."""
    if len(found) < 2:
        raise InvalidSpec.at(
            "/transfer", "there is only one model: name the others that its attacks are tried on"
        )
    first = found[0].card.geometry
    for model in found[1:]:
        if not model.card.geometry.same_clips(first):
            raise InvalidSpec.at(
                "/transfer",
                f"models {found[0].name!r} and {model.name!r} are shown other clips (frames, stride or size differ): "
                "what is crafted on one cannot be shown to the other",
            )


def _model(session: Session, name: str, index: int, sha256: str | None) -> RegisteredModel:
    try:
        model = models.get(session, name)
    except NotFound as error:
        raise InvalidSpec.at(f"/models/{index}", error.detail) from error
    if sha256 not in (None, model.sha256):
        raise InvalidSpec.at(f"/model_sha256/{name}", f"model {name!r} has the SHA-256 {model.sha256}")
    return model


def _dataset(session: Session, asked: AuditRequest) -> RegisteredDataset:
    try:
        dataset = datasets.get(session, asked.dataset)
    except NotFound as error:
        raise InvalidSpec.at("/dataset", error.detail) from error
    if asked.dataset_sha256 not in (None, dataset.sha256):
        raise InvalidSpec.at("/dataset_sha256", f"dataset {dataset.name!r} has the SHA-256 {dataset.sha256}")
    return dataset


def _held(hold: Callable[[Session, str], Any], session: Session, name: str, pointer: str) -> None:
    """Keep what the job is going to use. Raises `InvalidSpec` when it was deleted meanwhile."""
    try:
        hold(session, name)
    except NotFound as error:
        raise InvalidSpec.at(pointer, error.detail) from error


def _clips(dataset: RegisteredDataset, asked: AuditRequest) -> int:
    """How many videos the subset holds. Raises `InvalidSpec` for none."""
    per_class = dict(zip(dataset.classes, dataset.listing["videos_per_class"], strict=True))
    subset = asked.subset
    unknown = [name for name in subset.classes or () if name not in per_class]
    if unknown:
        raise InvalidSpec.at(
            "/subset/classes", f"dataset {dataset.name!r} has no class {', '.join(map(repr, unknown[:8]))}"
        )
    kept: list[int] = [per_class[name] for name in subset.classes or dataset.classes]
    if subset.per_class is not None:
        kept = [min(count, subset.per_class) for count in kept]
    clips = sum(kept) if subset.count is None else min(sum(kept), subset.count)
    if clips == 0:
        raise InvalidSpec.at("/subset", "the subset holds no video: choose other classes")
    if subset.count is not None and subset.count > sum(kept):
        raise InvalidSpec.at(
            "/subset/count", f"{subset.count} videos are asked for and {sum(kept)} are there"
        )
    return clips
