"""Runs a plan on a service: posts what is not there yet, waits, and reads what came of it.

The same command goes on where it was broken off: what is done is found again, what failed or was cancelled is resumed.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from multav.client import Client, Json, ServiceProblem
from multav.errors import MultavError
from multav.reproduction.earlier_jobs import earlier_jobs
from multav.reproduction.measured import Answers, Findings, aligned
from multav.reproduction.plan import PlannedModel

_PAUSE_SECONDS: Final = 10.0
"""A look costs time of cores that are wanted for training."""
_FINISHED: Final = ("succeeded", "failed", "cancelled")
_QUEUE_FULL: Final = 429


class JobEnded(MultavError):
    """A training or an audit of the plan did not succeed."""

    status, code, title = 500, "reproduction_failed", "A part of the table could not be made"


@dataclass
class Standing:
    """How far the plan has come: jobs by model, those that have ended among them, and progress of those that run."""

    models: Sequence[PlannedModel]
    trainings: dict[str, Json]
    audits: dict[str, Json]

    @property
    def done(self) -> float:
        """Share of the work that is done, an audit counted as the share of a training that it costs."""
        share = self.models[0].scale.audit_share
        trained, audited = (sum(map(_share, jobs.values())) for jobs in (self.trainings, self.audits))
        return (trained + share * audited) / ((1 + share) * len(self.models))

    @property
    def failed(self) -> list[Json]:
        """The jobs that have ended without success."""
        jobs = (*self.trainings.values(), *self.audits.values())
        return [job for job in jobs if job["state"] in _FINISHED and job["state"] != "succeeded"]


def run(
    client: Client,
    models: Sequence[PlannedModel],
    *,
    on_change: Callable[[Standing], None] = lambda _: None,
    pause: Callable[[float], None] = time.sleep,
) -> Findings:
    """Train and audit every model, and say what was measured.

    Jobs run side by side as the service has workers. One that fails is resumed once, and left out when that does not
    help. Raises `JobEnded` when nothing at all was measured or a job was deleted meanwhile, and `ServiceProblem`.
    """
    trainings = {model.name: model.training for model in models}
    audits = {model.name: model.audit for model in models}
    standing = Standing(models, earlier_jobs(client.jobs(kind="training"), trainings), {})
    audited_before = earlier_jobs(client.jobs(kind="audit"), audits)
    resumed: set[str] = set()
    while True:
        _post(client.train, trainings, standing.trainings)
        for kind, jobs in (("training", standing.trainings), ("audit", standing.audits)):
            changed = _as_they_are(client, kind, jobs.values(), resumed)
            jobs |= {name: changed[job["id"]] for name, job in jobs.items() if job["id"] in changed}
        trained = [name for name, job in standing.trainings.items() if job["state"] == "succeeded"]
        standing.audits |= {
            name: audited_before[name]
            for name in trained
            if name in audited_before and name not in standing.audits
        }
        _post(client.audit, {name: audits[name] for name in trained}, standing.audits)
        on_change(standing)
        if _over(standing, resumed):
            break
        pause(_PAUSE_SECONDS)
    return _findings(client, standing)


def _post(post: Callable[..., Json], bodies: Mapping[str, Json], jobs: dict[str, Json]) -> None:
    """Ask for what there is no job of yet, as far as the service's queue takes it."""
    for name, body in bodies.items():
        if name in jobs:
            continue
        # Whoever dies before the answer is there finds the job by its key.
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        try:
            jobs[name] = post(body, key=f"table1-{digest}")
        except ServiceProblem as problem:
            if problem.http_status != _QUEUE_FULL:
                raise
            return


def _over(standing: Standing, resumed: set[str]) -> bool:
    """Whether nothing is to be expected of any training any more, nor of the audits of those that succeeded."""
    trainings, audits = standing.trainings, standing.audits
    return len(trainings) == len(standing.models) and all(
        _settled(job, resumed)
        and (job["state"] != "succeeded" or (name in audits and _settled(audits[name], resumed)))
        for name, job in trainings.items()
    )


def _as_they_are(client: Client, kind: str, jobs: Iterable[Json], resumed: set[str]) -> dict[str, Json]:
    """By id those jobs that may have changed, as they are now; what did not succeed is resumed once."""
    asked = {job["id"] for job in jobs if not _settled(job, resumed)}
    found: dict[str, Json] = {}
    if not asked:
        return found
    # One list of many jobs is cheaper than many jobs.
    for job in client.jobs(kind=kind):
        if job["id"] in asked:
            found[job["id"]] = _resumed(client, job, resumed)
            if len(found) == len(asked):
                return found
    gone = min(asked - set(found))
    raise JobEnded(f"{kind} {gone} is not there any more: the same command asks for it anew")


def _settled(job: Json, resumed: set[str]) -> bool:
    """Whether nothing is to be expected of the job any more."""
    return job["state"] == "succeeded" or (job["state"] in _FINISHED and job["id"] in resumed)


def _resumed(client: Client, job: Json, resumed: set[str]) -> Json:
    """The job; one that did not succeed is resumed once, if the service lets it."""
    if job["state"] not in ("failed", "cancelled") or job["id"] in resumed:
        return job
    try:
        again = client.resume(job["id"])
    except ServiceProblem as problem:
        if problem.http_status >= 500:
            raise
        if problem.http_status == _QUEUE_FULL:
            return job | {"state": "queued"}  # asked again with the next look
        refused = f"{_why(job)}; it cannot be resumed: {problem.detail}"
        again = job | {"problem": (job["problem"] or {}) | {"detail": refused}}
    resumed.add(job["id"])
    return again


def _why(job: Json) -> str:
    return str((job["problem"] or {}).get("detail", job["state"]))


def _share(job: Json) -> float:
    if job["state"] in _FINISHED:
        return 1.0
    progress = job["progress"]
    return (progress["done"] or 0) / progress["total"] if progress["total"] else 0.0


def _findings(client: Client, standing: Standing) -> Findings:
    complete = [
        model
        for model in standing.models
        if standing.audits.get(model.name, {"state": None})["state"] == "succeeded"
    ]
    if not complete:
        first = standing.failed[0]
        raise JobEnded(
            f"{len(standing.failed)} jobs did not succeed, such as {first['kind']} {first['id']}: {_why(first)}"
        )
    answers = [
        Answers.of(
            model,
            client.outcomes(standing.audits[model.name]["id"]),
            standing.trainings[model.name],
            standing.audits[model.name],
        )
        for model in complete
    ]
    measured, left_out = aligned(answers)
    return Findings(measured, left_out, standing.failed)
