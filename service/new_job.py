"""A job of a request that was checked: it gets a place in the queue, and what it needs stays until it has ended."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from service.context import Context
from service.door import refuse_when_full
from service.needs import needs_of
from store import jobs
from store.jobs.rows import NORMAL


def new_job(
    session: Session,
    context: Context,
    kind: str,
    spec: dict[str, Any],
    *,
    makes: Iterable[jobs.Use] = (),
    priority: int = NORMAL,
) -> tuple[str, bool]:
    """Queue a job, whose specification is spelled out; its id, and that it is new.

    Nobody else may be making what it `makes`, nor delete it before the job ends. Raises `QueueFull`, and `InvalidSpec`
    when a model or dataset was deleted since it was looked up.
    """
    refuse_when_full(session, context.settings.max_queued_jobs)
    needs = needs_of(kind, spec)
    for need in needs:
        need.hold(session)
    job = jobs.create(
        session,
        kind=kind,
        spec=spec,
        uses=[*((need.thing, need.name) for need in needs), *makes],
        priority=priority,
        max_attempts=context.settings.max_attempts,
    )
    return job.id, True
