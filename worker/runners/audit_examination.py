"""Runs some checks of one model of an audit, on a random sample of the clips that it knows."""

import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import torch

from multav.audits.cells import Cell
from multav.audits.examination import examine
from multav.audits.outcome import CLEAN, Outcome
from multav.datasets.clips import LoadedClip
from store import jobs, outcomes
from worker.audit_subject import AuditSubject

if TYPE_CHECKING:
    from worker.process import WorkerProcess
    from worker.running_job import RunningJob

KIND: Final = "audit-examination"


def run_audit_examination(running: "RunningJob", process: "WorkerProcess") -> dict[str, Any]:
    """The findings on one model, as `checks`."""
    subject = AuditSubject.of(running, process)
    request, name = subject.request, str(running.job.spec["model"])
    assert request.checks is not None, "without checks there is no such part"
    with running.database.read() as session:
        clean = outcomes.of_cell(session, subject.audit_id, name, CLEAN)
        rows = {
            cell.name: outcomes.of_cell(session, subject.audit_id, name, cell.name) for cell in request.cells
        }
    cell = _strongest(subject, rows)
    known = sorted(row.clip for row in clean if row.problem is None and row.right)
    chosen = sorted(
        random.Random(f"{request.seed}:checks").sample(known, min(len(known), request.checks.clips))
    )
    by_index = {clip.clip: clip for clip in subject.clips()}
    model, geometry = subject.model(name), subject.classifier(name).geometry
    windows, labels, indices = [], [], []
    with closing(subject.loaded(name, [by_index[index] for index in chosen], running)) as source:
        for clip, loaded in source:
            if isinstance(loaded, LoadedClip):
                # The middle window speaks for the video: the checks ask about clips.
                windows.append(loaded.pixels[len(loaded.pixels) // 2])
                labels.append(clip.label)
                indices.append(clip.clip)
    empty = torch.empty(0, 3, geometry.frames, geometry.height, geometry.width)
    found = examine(
        model,
        name,
        (torch.stack(windows) if windows else empty).to(process.device),
        torch.tensor(labels, dtype=torch.int64, device=process.device),
        indices,
        cell.attack,
        request.checks,
        seed=request.seed,
        precision=request.precision,
        doubts=running.job.spec["doubts"],
        others={
            other: subject.model(other)
            for other in request.models
            if other != name and subject.classifier(other).geometry.same_clips(geometry)
        },
        on_step=lambda _: running.check(),
    )
    with running.database.write() as session:
        jobs.count_up(session, running.claim, done=1, seconds_each=None)
    return {
        "cell": cell.name,
        "clips": len(indices),
        "checks": [check.model_dump(mode="json") for check in found],
    }


def _strongest(subject: AuditSubject, rows: Mapping[str, Sequence[Outcome]]) -> Cell:
    """Of the attacks on whole clips (of all, where there is none) the one that fools the model most often."""
    cells = subject.request.cells
    whole = [cell for cell in cells if cell.attack.region.name == "whole-clip"] or list(cells)

    def share_right(cell: Cell) -> float:
        read = [row for row in rows[cell.name] if row.problem is None]
        return sum(row.right for row in read) / max(1, len(read))

    return min(whole, key=share_right)
