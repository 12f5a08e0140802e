"""The door of audits: models, dataset and attacks are checked against each other before a job is accepted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from multav.audits.class_order import common_classes
from multav.audits.estimate import AuditEstimate, estimate
from multav.audits.request import PRIORITIES, AuditRequest
from multav.errors import InvalidSpec
from service.alive_workers import alive_workers
from service.context import Context
from service.door import queued
from service.fitting_attacks import refuse_few_classes, refuse_large_region
from service.named_things import named_dataset, named_model, videos_in
from service.new_job import new_job
from service.once import Accepted, Once
from store import idempotency, speeds
from store.datasets import RegisteredDataset
from store.models import RegisteredModel

AUDITS_ROUTE: Final = "POST /v1/audits"


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
    spec, priority = request.model_dump(mode="json"), PRIORITIES[request.priority]
    made = once.make(lambda session: new_job(session, context, "audit", spec, priority=priority))
    return queued(context, made, "audit")


def estimate_audit(context: Context, body: Any) -> AuditEstimate:
    """What the audit would cost. Raises `InvalidSpec` where it would not be accepted."""
    asked = AuditRequest.parse(body)
    with context.database.read() as session:
        found = _checked(session, context, asked)
        known = {
            model.name: speeds.seconds_of(session, model.sha256, found.request.precision)
            for model in found.models
        }
        alive = len(alive_workers(session))
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
        named_model(
            session,
            name,
            asked.model_sha256.get(name),
            pointer=f"/models/{index}",
            sha256_pointer=f"/model_sha256/{name}",
        )
        for index, name in enumerate(names)
    )
    strangers = sorted(set(asked.model_sha256) - set(names))
    if strangers:
        raise InvalidSpec.at(
            "/model_sha256", f"no model of this audit is named {', '.join(map(repr, strangers))}"
        )
    dataset = named_dataset(session, asked.dataset, asked.dataset_sha256)
    classes = common_classes(
        dataset.name, dataset.classes, {model.name: model.card.classes for model in found}
    )
    for index, attack in enumerate(asked.attacks):
        refuse_few_classes(attack, classes, f"/attacks/{index}")
        for model in found:
            refuse_large_region(attack, model.card.geometry, f"/attacks/{index}", model.name)
    if asked.transfer:
        _refuse_odd_sizes(found)
    clips = videos_in(dataset, asked.subset)
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
