"""Runs audits: plans the parts that any worker may run, then the checks, and writes the report when all have ended.

    claim 1   which videos, in which order; a part for each model and run of videos     ─► left to its parts
    claim 2   with checks: parts for each model, on clips that it is known to know      ─► left to its parts
    claim 3   outcomes and findings become verdicts, tables, a page                     ─► succeeds

What has been done is seen by what is there, so that a claim whose worker died is simply made again.
"""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sqlalchemy.orm import Session

from multav.audits.check_costs import SHARES
from multav.datasets.listing import subset
from multav.errors import AuditIncomplete, InvalidSpec
from store import jobs, outcomes, speeds
from store.jobs import Job, Part
from store.outcomes import AuditClip
from worker.audit_report import report
from worker.audit_subject import AuditSubject
from worker.runners import audit_clips, audit_examination
from worker.running_job import LeftToParts

if TYPE_CHECKING:
    from worker.process import WorkerProcess
    from worker.running_job import RunningJob

_PART_SECONDS: Final = 60.0
_UNKNOWN_SPEED: Final = 0.1
_MOST_CLIPS: Final = 512


def run_audit(running: "RunningJob", process: "WorkerProcess") -> dict[str, Any]:
    """The result object of an audit, once there is one. Raises `LeftToParts` until then, and `AuditIncomplete`."""
    subject = AuditSubject.of(running, process)
    with running.database.read() as session:
        parts = jobs.parts(session, running.job.id)
    if not parts:
        _begin(running, subject)
    _refuse_failed(parts)
    examined = [part for part in parts if part.kind == audit_examination.KIND]
    if subject.request.checks is not None and not examined:
        pieces = [
            Part(audit_examination.KIND, {"model": name, "doubts": list(doubts)})
            for name in subject.request.models
            for doubts in SHARES
        ]
        with running.database.write() as session:
            _split(session, running, pieces, total=(running.job.done or 0) + len(pieces))
        raise LeftToParts
    findings: dict[str, dict[str, Any]] = {}
    for part in examined:
        by_name = findings.setdefault(part.spec["model"], {})
        # Where the model knows no clip every part says the same.
        by_name |= {each["name"]: each for each in (part.result or {}).get("checks", [])}
    return report(running, subject, {name: list(found.values()) for name, found in findings.items()})


def _begin(running: "RunningJob", subject: AuditSubject) -> NoReturn:
    """Choose the videos and leave the audit to parts."""
    request = subject.request
    # As the folder is now: what was listed before may have changed.
    subject.process.datasets.get(request.dataset, request.dataset_sha256, anew=True)
    asked = request.subset
    try:
        videos = subset(
            subject.listing,
            count=asked.count,
            per_class=asked.per_class,
            classes=asked.classes,
            names=asked.videos,
            seed=asked.seed,
        )
    except ValueError as error:
        raise InvalidSpec.at("/subset", str(error)) from error
    if not videos:
        raise InvalidSpec("the subset holds no video")
    running.check()
    clips = [
        AuditClip(position, video.index, video.name, video.label, video.group)
        for position, video in enumerate(videos)
    ]
    pieces = []
    for name in request.models:
        with running.database.read() as session:
            speed = speeds.seconds_of(session, request.model_sha256[name], request.precision)
        size = _clips_of_a_part(subject, _UNKNOWN_SPEED if speed is None else speed[1])
        pieces += [
            Part(audit_clips.KIND, {"model": name, "first": first, "last": min(first + size, len(clips))})
            for first in range(0, len(clips), size)
        ]
    # All models see the first videos first, so that early results compare them.
    pieces.sort(key=lambda part: int(part.spec["first"]))
    columns = audit_clips.columns(request)
    with running.database.write() as session:
        outcomes.plan_clips(session, running.job.id, clips)
        _split(session, running, pieces, total=len(clips) * len(request.models) * len(columns))
    raise LeftToParts


def _clips_of_a_part(subject: AuditSubject, seconds: float) -> int:
    """As many videos as take about a minute, in whole batches."""
    request = subject.request
    steps = sum(cell.attack.most_steps for cell in request.cells)
    batch_seconds = max(1e-6, steps * seconds * request.batch_size)
    batches = max(1, min(_MOST_CLIPS // request.batch_size, ceil(_PART_SECONDS / batch_seconds)))
    return batches * request.batch_size


def _split(session: Session, running: "RunningJob", pieces: Sequence[Part], *, total: int) -> None:
    jobs.split(
        session,
        running.claim,
        pieces,
        total=total,
        unit="results",
        max_attempts=running.settings.max_attempts,
    )


def _refuse_failed(parts: Sequence[Job]) -> None:
    """Raise `AuditIncomplete` where a part has failed: what it should have found is not there."""
    failed = [part for part in parts if part.state != "succeeded"]
    if not failed:
        return
    said = [str((part.problem or {}).get("detail") or part.state) for part in failed]
    raise AuditIncomplete(
        f"{len(failed)} of {len(parts)} parts of the audit failed, the first because: {said[0]}. What the others found "
        "is kept: mend the cause and resume the job (POST /v1/jobs/{id}/resume); only what is missing is done"
    )
