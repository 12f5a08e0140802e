"""Runs a plan on a service: posts what is not there yet, waits, and reads what came of it.

Every request goes with a key that stands for it, so that the same command goes on where it was broken off: what is done
is found again, what failed or was cancelled is resumed.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from multav.client import Client, Json
from multav.errors import MultavError
from multav.reproduction.plan import PlannedModel

_PAUSE_SECONDS: Final = 10.0
"""Every look asks for each job that is not done, from cores that are wanted for training."""
_FINISHED: Final = ("succeeded", "failed", "cancelled")
Hits = NDArray[np.bool_]


class JobEnded(MultavError):
    """A training or an audit of the plan did not succeed."""

    status, code, title = 500, "reproduction_failed", "A part of the table could not be made"


@dataclass(frozen=True)
class Measured:
    """One model of the plan as it was audited.

    `right` has for each cell (and "clean") whether the model is right about the clips, in the order of the listing; the
    jobs are those of the service.
    """

    planned: PlannedModel
    right: dict[str, Hits]
    training: Json
    audit: Json

    def under(self, kind: str) -> Hits:
        """Whether it is right under the attack of that kind."""
        (found,) = (hits for cell, hits in self.right.items() if cell.partition("@")[0] == kind)
        return found


@dataclass
class Standing:
    """How far the plan has come: jobs by model, those that have ended among them, and progress of those that run."""

    models: Sequence[PlannedModel]
    trainings: dict[str, Json]
    audits: dict[str, Json]

    @property
    def done(self) -> float:
        """Share of the trainings and audits, counted alike, that is done."""
        parts = [_share(job) for jobs in (self.trainings, self.audits) for job in jobs.values()]
        return sum(parts) / (2 * len(self.models))


def run(
    client: Client,
    models: Sequence[PlannedModel],
    *,
    on_change: Callable[[Standing], None] = lambda _: None,
    pause: Callable[[float], None] = time.sleep,
) -> list[Measured]:
    """Train and audit every model; what was measured, in the order of the plan.

    Jobs run side by side as the service has workers. Raises `JobEnded` when a job has failed twice (a second time after
    it was resumed), after the others have ended, and `ServiceProblem`.
    """
    standing = Standing(models, {model.name: _posted(client.train, model.training) for model in models}, {})
    resumed: set[str] = set()
    while True:
        for jobs in (standing.trainings, standing.audits):
            for name, job in jobs.items():
                if job["state"] != "succeeded":
                    jobs[name] = _as_it_is(client, job, resumed)
        for model in models:
            if standing.trainings[model.name]["state"] == "succeeded" and model.name not in standing.audits:
                standing.audits[model.name] = _posted(client.audit, model.audit)
        on_change(standing)
        everything = [*standing.trainings.values(), *standing.audits.values()]
        if all(job["state"] in _FINISHED for job in everything):
            break
        pause(_PAUSE_SECONDS)
    failed = [job for job in everything if job["state"] != "succeeded"]
    if failed:
        detail = (failed[0]["problem"] or {}).get("detail", failed[0]["state"])
        raise JobEnded(
            f"{len(failed)} of {len(everything)} jobs did not succeed, such as {failed[0]['kind']} {failed[0]['id']}: "
            f"{detail}"
        )
    return [
        _measured(client, model, standing.trainings[model.name], standing.audits[model.name])
        for model in models
    ]


def _posted(post: Callable[..., Json], body: Json) -> Json:
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return post(body, key=f"table1-{digest}")


def _as_it_is(client: Client, job: Json, resumed: set[str]) -> Json:
    """The job as it is now; one that did not succeed is resumed once."""
    job = client.job(job["id"])
    if job["state"] in ("failed", "cancelled") and job["id"] not in resumed:
        resumed.add(job["id"])
        return client.resume(job["id"])
    return job


def _share(job: Json) -> float:
    if job["state"] in _FINISHED:
        return 1.0
    progress = job["progress"]
    return (progress["done"] or 0) / progress["total"] if progress["total"] else 0.0


def _measured(client: Client, model: PlannedModel, training: Json, audit: Json) -> Measured:
    by_cell: dict[str, dict[int, bool]] = {}
    for outcome in client.outcomes(audit["id"]):
        if outcome["problem"] is None:
            right = outcome["predicted"] == outcome["label"]
            by_cell.setdefault(outcome["cell"], {})[outcome["clip"]] = right
    clips = sorted(set.intersection(*(set(found) for found in by_cell.values())))
    right = {cell: np.array([found[clip] for clip in clips]) for cell, found in by_cell.items()}
    return Measured(model, right, training, audit)
