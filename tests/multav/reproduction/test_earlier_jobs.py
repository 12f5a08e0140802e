"""Which jobs of a service are those of a plan: by what they were asked for."""

from typing import Any

import pytest

from multav.audits.request import AuditRequest
from multav.reproduction.earlier_jobs import earlier_jobs
from multav.reproduction.plan import PlannedModel, planned_models
from multav.reproduction.scales import small_scale
from multav.training.request import TrainingRequest

MODELS = planned_models(small_scale())


def trained(model: PlannedModel, state: str = "succeeded", number: int = 0, **fields: Any) -> dict[str, Any]:
    """A training as the service keeps it: with every default, and with what it has found out."""
    spec = TrainingRequest.parse(model.training).model_dump(mode="json")
    spec["start"]["model_sha256"] = "0" * 64
    return {"id": f"{model.name}/{number}", "state": state, "spec": spec | fields}


def audited(model: PlannedModel, state: str = "succeeded", **fields: Any) -> dict[str, Any]:
    spec = AuditRequest.parse(model.audit).model_dump(mode="json")
    return {
        "id": model.name,
        "state": state,
        "spec": spec | {"model_sha256": {model.name: "0" * 64}} | fields,
    }


def test_every_training_and_audit_is_found_again() -> None:
    bodies = {model.name: model.training for model in MODELS}
    assert set(earlier_jobs(map(trained, MODELS), bodies)) == set(bodies)
    bodies = {model.name: model.audit for model in MODELS}
    assert set(earlier_jobs(map(audited, MODELS), bodies)) == set(bodies)


@pytest.mark.parametrize(
    "fields", [{"steps": 7}, {"seed": 9}, {"attack": None}, {"dataset": "other"}], ids=str
)
def test_another_training_of_the_name_is_not_taken_for_it(fields: dict[str, Any]) -> None:
    model = next(model for model in MODELS if model.row == "mult")
    assert earlier_jobs([trained(model, **fields)], {model.name: model.training}) == {}


@pytest.mark.parametrize("fields", [{"subset": {"count": 5}}, {"early_stop": True}, {"attacks": []}], ids=str)
def test_another_audit_of_the_model_is_not_taken_for_it(fields: dict[str, Any]) -> None:
    assert earlier_jobs([audited(MODELS[0], **fields)], {MODELS[0].name: MODELS[0].audit}) == {}


def test_the_one_that_came_furthest_counts() -> None:
    model = MODELS[0]
    jobs = [
        trained(model, state, number) for number, state in enumerate(("cancelled", "succeeded", "failed"))
    ]
    assert earlier_jobs(jobs, {model.name: model.training})[model.name]["state"] == "succeeded"
    assert earlier_jobs(jobs[::2], {model.name: model.training})[model.name]["state"] == "cancelled", (
        "the newest"
    )
