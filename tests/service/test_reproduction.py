"""The plan of a table on the real API, its jobs ended by hand: what is resumed, and when it is over."""

from collections import Counter
from typing import Any

import pytest

from multav.client import Client
from multav.reproduction.plan import PlannedModel, planned_models
from multav.reproduction.run import JobEnded, run
from multav.reproduction.scales import small_scale
from store import blobs, jobs, models
from store.jobs import Job

BROKEN = {"code": "internal_error", "detail": "broken"}


def test_what_failed_before_is_resumed_once_by_every_run(service: Any) -> None:
    """Also where nothing else is left to do, and whether it was the audits or the trainings that failed."""
    plan = planned_models(small_scale(steps=2, test_clips=12))[:2]
    tried: Counter[str] = Counter()

    def all_fail() -> None:
        for job in waiting(service):
            tried[job.kind] += 1
            end(service, job, BROKEN)

    def audits_fail() -> None:
        for job in waiting(service):
            tried[job.kind] += 1
            end(service, job, None if job.kind == "training" else BROKEN)

    assert ran(service, plan, all_fail) == "training"
    assert tried == {"training": 4}, "each, and each once more"
    assert ran(service, plan, all_fail) == "training"
    assert tried == {"training": 6}
    tried.clear()
    assert ran(service, plan, audits_fail) == "audit"
    assert tried == {"training": 2, "audit": 4}
    assert ran(service, plan, audits_fail) == "audit"
    assert tried == {"training": 2, "audit": 6}


def ran(service: Any, plan: tuple[PlannedModel, ...], work: Any) -> str:
    """Run the plan, doing `work` whenever it waits; the kind of the job that it complains of."""
    with Client(str(service.client.base_url)) as client, pytest.raises(JobEnded, match="broken") as found:
        run(client, plan, pause=lambda _: work())
    return str(found.value).split("such as ")[1].split()[0]


def waiting(service: Any) -> list[Job]:
    with service.database.read() as session:
        return jobs.listed(session, state="queued").items


def end(service: Any, job: Job, problem: dict[str, Any] | None) -> None:
    """As a worker would; a training that succeeds leaves a model of its name."""
    claim = service.claim(job.id)
    with service.database.write() as session:
        if problem is not None:
            jobs.fail(session, claim, problem)
            return
    blob = blobs.write(service.database, [job.id.encode()])
    with service.database.write() as session:
        name = job.spec["name"]
        card = models.get(session, "camera-motion-r3d18").card.model_copy(update={"name": name})
        models.add_trained(session, card, blob)
        jobs.succeed(session, claim, {"model": name})
