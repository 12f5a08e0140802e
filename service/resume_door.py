"""The door of jobs that go on again: what they need must still be there, and so must the place for what they make."""

from sqlalchemy.orm import Session

from multav.errors import Conflict
from service.context import Context
from service.door import refuse_when_full
from service.needs import needs_of
from store import jobs, models, training_checkpoints
from store.jobs import Job
from store.wanted_names import hold_wanted


def accept_resume(context: Context, job_id: str, most_messages: int) -> dict[str, str]:
    """Let a paused job go on, or one run again that failed or was cancelled.

    Returns who waits for a worker now, as `jobs.waiting`. Raises `NotFound`, `QueueFull`, and `Conflict` for a job that
    has succeeded, or that could not come to a good end any more: what it needs was deleted, or a training's name is
    taken.
    """
    with context.database.write() as session:
        job = jobs.get(session, job_id)
        if job.state in ("failed", "cancelled"):
            refuse_when_full(session, context.settings.max_queued_jobs)
        if job.state != "succeeded" and (job.finished or job.paused):
            _refuse_without_end(session, job)
        jobs.resume(session, job_id, more_attempts=context.settings.max_attempts)
        return jobs.waiting(session, job_id, most_messages)


def _refuse_without_end(session: Session, job: Job) -> None:
    """Raise `Conflict` for what a worker would find out late."""
    kept = training_checkpoints.find(session, job.id) if job.kind == "training" else None
    if kept is not None and kept.result is not None:
        # The model is made and registered: only its files are to be handed out.
        _refuse_lost_model(session, kept.result["model"], kept.result["model_sha256"])
        return
    for need in needs_of(job.kind, job.spec):
        need.hold_still(session)
    if job.kind == "training":
        _refuse_taken_name(session, job)


def _refuse_lost_model(session: Session, name: str, sha256: str) -> None:
    registered = models.find(session, name)
    if registered is None or registered.sha256 != sha256:
        raise Conflict(
            f"the training was done, and the model {name!r} that it made was "
            f"{'deleted' if registered is None else 'replaced'}: there is nothing left to resume. Post another training"
        )


def _refuse_taken_name(session: Session, job: Job) -> None:
    name = job.spec["name"]
    hold_wanted(session, name)
    if models.find(session, name) is not None:
        # As long as the training is not over nothing of that name can be deleted.
        first = "" if job.finished else "cancel this training, "
        raise Conflict(
            f"another model is registered as {name!r}, which is the name of the model that this training makes: {first}"
            f"delete that one (DELETE /v1/models/{name}) and resume then, or post another training with another `name`"
        )
    others = jobs.count_unfinished(session, "model", name) - (0 if job.finished else 1)
    if others > 0:
        raise Conflict(
            f"another training is making a model {name!r} by now: cancel that one and resume then, or post another "
            "training with another `name`"
        )
