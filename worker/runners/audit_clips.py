"""Runs a part of an audit: one model, some of the videos, every attack.

A batch under one attack is kept as soon as it ends. What is there already is not done again, so a part that was killed
goes on where it was.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from multav.audits.cells import Cell
from multav.audits.evaluation import VideoClips, attack_outcomes, clean_outcomes
from multav.audits.minimum import minimum_cells
from multav.audits.minimum_epsilon import minimum_epsilon_outcomes, usual_search
from multav.audits.outcome import CLEAN, Outcome
from multav.audits.request import AuditRequest
from multav.datasets.clips import LoadedClip
from multav.errors import BadVideo, DependencyDown
from store import outcomes, speeds
from store.outcomes import AuditClip
from worker.audit_subject import AuditSubject

if TYPE_CHECKING:
    from worker.process import WorkerProcess
    from worker.running_job import RunningJob

KIND: Final = "audit-clips"
_RETRY_SECONDS: Final = 0.5
# What the confidence in the same clip may differ by from one machine to another.
_ROUNDING: Final = 0.002
_log = logging.getLogger(__name__)


def run_audit_clips(running: "RunningJob", process: "WorkerProcess") -> dict[str, Any]:
    """Do what is missing of a part; how much that was."""
    return _Part(running, AuditSubject.of(running, process)).run()


def columns(request: AuditRequest) -> tuple[str, ...]:
    """What is found of every video: clean, under each attack, and with the smallest bound of each family."""
    minimum = minimum_cells(request.cells) if request.minimum_epsilon else {}
    return (CLEAN, *(cell.name for cell in request.cells), *minimum)


def _is_close(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) < _ROUNDING


class _Part:
    def __init__(self, running: "RunningJob", subject: AuditSubject) -> None:
        self._running = running
        self._subject = subject
        self._name = str(running.job.spec["model"])
        self._request = subject.request
        self._cells = {cell.name: cell for cell in self._request.cells}
        self._minimum = minimum_cells(self._request.cells) if self._request.minimum_epsilon else {}
        self._columns = columns(self._request)
        self._gradients, self._seconds = 0, 0.0

    def run(self) -> dict[str, Any]:
        """Batch by batch, attack by attack."""
        spec, size = self._running.job.spec, self._request.batch_size
        clips = self._subject.clips(spec["first"], spec["last"])
        with self._running.database.read() as session:
            done = outcomes.done(session, self._subject.audit_id, self._name, [clip.clip for clip in clips])
        # Batches are the same whoever works on them, and in whatever attempt.
        batches = [clips[start : start + size] for start in range(0, len(clips), size)]
        missing = [(batch, columns) for batch in batches if (columns := self._missing(batch, done))]
        model = self._subject.model(self._name)
        # Only then: each of them takes memory.
        tried_on = self._request.models if self._request.transfer else ()
        others = {name: self._subject.model(name) for name in tried_on if name != self._name}
        wanted = [clip for batch, _ in missing for clip in batch]
        with closing(self._subject.loaded(self._name, wanted, self._running)) as loaded:
            for batch, columns in missing:
                pairs = list(islice(loaded, len(batch)))
                self._batch(model, others, batch, columns, pairs)
        self._note_speed()
        return {"batches": len(missing), "gradients": self._gradients, "seconds": self._seconds}

    def _missing(self, batch: Sequence[AuditClip], done: dict[str, set[int]]) -> list[str]:
        return [name for name in self._columns if any(clip.clip not in done.get(name, ()) for clip in batch)]

    def _batch(
        self,
        model: nn.Module,
        others: dict[str, nn.Module],
        batch: Sequence[AuditClip],
        columns: Sequence[str],
        pairs: Sequence[tuple[AuditClip, LoadedClip | BadVideo]],
    ) -> None:
        bad = {clip.clip: loaded.detail for clip, loaded in pairs if isinstance(loaded, BadVideo)}
        if bad:
            # Files that went with their disk are no bad videos: whoever resumes the audit may find them again.
            self._subject.process.datasets.refuse_gone(self._request.dataset)
        # In the order of the audit's classes, which begin with the dataset's own.
        labels = {clip.clip: clip.label for clip in batch}
        videos = [
            VideoClips(clip.clip, labels[clip.clip], loaded.pixels.to(self._subject.process.device))
            for clip, loaded in pairs
            if isinstance(loaded, LoadedClip)
        ]

        def keep(column: str, found: list[Outcome]) -> None:
            problems = [
                Outcome(self._name, column, clip, labels[clip], self._name, problem=detail)
                for clip, detail in bad.items()
            ]
            self._save([*found, *problems])

        if CLEAN in columns:
            clean = clean_outcomes(model, self._name, videos) if videos else []
            keep(CLEAN, clean)
        else:
            clean = self._kept_clean(model, videos, bad)
            videos = [video for video in videos if video.index not in bad]
        for column in columns:
            if column == CLEAN:
                continue
            self._running.check()
            started = time.monotonic()
            found = self._attacked(model, others, column, videos, clean) if videos else []
            self._seconds += time.monotonic() - started
            self._gradients += sum(outcome.gradients for outcome in found)
            keep(column, found)
            self._running.give_way()

    def _kept_clean(
        self, model: nn.Module, videos: Sequence[VideoClips], bad: dict[int, str]
    ) -> list[Outcome]:
        """The clean rows that an earlier attempt kept, of the videos that are still what they were.

        The others join the `bad`: one that could not be read then, and one that is another video now, whose wrong
        prediction would pass for an attack's success.
        """
        with self._running.database.read() as session:
            kept = {
                row.clip: row
                for row in outcomes.of_cell(
                    session, self._subject.audit_id, self._name, CLEAN, [video.index for video in videos]
                )
            }
        for now in clean_outcomes(model, self._name, videos) if videos else []:
            then = kept[now.clip]
            if then.problem is not None:
                bad[now.clip] = then.problem
            elif now.predicted != then.predicted or not _is_close(now.confidence, then.confidence):
                bad[now.clip] = "the file holds another video than when its clean clip was looked at"
        return [row for row in kept.values() if row.clip not in bad]

    def _attacked(
        self,
        model: nn.Module,
        others: dict[str, nn.Module],
        column: str,
        videos: Sequence[VideoClips],
        clean: Sequence[Outcome],
    ) -> list[Outcome]:
        def on_step(_: int) -> None:
            self._running.check()

        request = self._request
        if column in self._minimum:
            cell = self._minimum[column]
            search = usual_search([each.attack for each in self._family(cell)])
            return minimum_epsilon_outcomes(
                model,
                self._name,
                cell,
                videos,
                clean,
                search,
                seed=request.seed,
                precision=request.precision,
                on_step=on_step,
            )
        return attack_outcomes(
            model,
            self._name,
            self._cells[column],
            videos,
            clean,
            seed=request.seed,
            precision=request.precision,
            others=others,
            on_step=on_step,
        )

    def _family(self, cell: Cell) -> list[Cell]:
        return [each for each in self._cells.values() if each.family == cell.family]

    def _save(self, found: list[Outcome]) -> None:
        """Keep and count outcomes, waiting for a database that is away."""
        deadline = time.monotonic() + self._running.settings.lease_seconds
        while True:
            try:
                with self._running.database.write() as session:
                    outcomes.add(session, self._running.claim, found)
            except DependencyDown:
                if time.monotonic() > deadline:
                    raise
                _log.warning("job %s: outcomes cannot be written yet", self._running.job.id, exc_info=True)
                time.sleep(_RETRY_SECONDS)
                if self._are_kept(found):
                    # Written, though nobody said so.
                    return
            else:
                self._running.advanced()
                return

    def _are_kept(self, found: Sequence[Outcome]) -> bool:
        try:
            with self._running.database.read() as session:
                done = outcomes.done(
                    session, self._subject.audit_id, self._name, [each.clip for each in found]
                )
        except DependencyDown:
            return False
        return all(each.clip in done.get(each.cell, ()) for each in found)

    def _note_speed(self) -> None:
        if not self._gradients:
            return
        with self._running.database.write() as session:
            speeds.note(
                session,
                model_sha256=self._request.model_sha256[self._name],
                device=self._subject.process.device.partition(":")[0],
                precision=self._request.precision,
                seconds=self._seconds / self._gradients,
            )
