"""Makes the report of an audit whose parts have all ended: verdicts, tables, example clips and the page."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from multav.audits.cells import Cell
from multav.audits.evaluation import VideoClips, attack_videos
from multav.audits.examples import write_example
from multav.audits.findings import Check, Verdict
from multav.audits.logits import mean_softmax
from multav.audits.minimum import cell_of_minimum, minimum_cells
from multav.audits.outcome import CLEAN
from multav.audits.verdict import verdict
from multav.datasets.clips import load_clip
from multav.datasets.listing import ListedVideo
from multav.errors import BadVideo
from multav.precision import gradient_type
from multav.reports.example_clip import ExampleClip
from multav.reports.manifest import DatasetIdentity, Manifest, ModelIdentity, collect
from multav.reports.outcome_columns import Columns, OutcomeColumns
from multav.reports.outcome_tables import write_csv, write_parquet
from multav.reports.page import page
from multav.reports.paper_table import latex_table, markdown_table
from multav.reports.summarise import summarise
from multav.reports.summary import Summary
from store import datasets, models, outcomes
from worker.audit_subject import AuditSubject
from worker.kept_files import WrittenFile, keep_files

if TYPE_CHECKING:
    from worker.running_job import RunningJob


def report(
    running: "RunningJob", subject: AuditSubject, findings: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """Write and store the report; the job's result. `findings` are the checks of each model as JSON."""
    request, clips = subject.request, subject.clips()
    videos = [subject.video(clip) for clip in clips]
    with running.database.read() as session:
        columns = OutcomeColumns(videos, outcomes.every(session, subject.audit_id))
    checks = {name: [Check.model_validate(each) for each in found] for name, found in findings.items()}
    verdicts = {name: _verdict(subject, columns, name, checks.get(name, ())) for name in request.models}
    manifest = _manifest(running, subject, columns, len(videos))
    summary = summarise(
        request,
        classes=subject.classes,
        videos=videos,
        outcomes=columns,
        minimum_cells=[cell_of_minimum(cell) for cell in minimum_cells(request.cells).values()]
        if request.minimum_epsilon
        else (),
        checks=checks,
        verdicts=verdicts,
        manifest=manifest,
    )
    with subject.process.folders.open() as folder:
        examples = _examples(running, subject, columns, videos, folder)
        made = _files(running, subject, summary, examples, videos, folder)
        keep_files(running, made)
    return _result(summary)


def _verdict(subject: AuditSubject, columns: OutcomeColumns, name: str, checks: Sequence[Check]) -> Verdict:
    clean = columns.of(name, CLEAN)
    # A video that could not be read under one attack is in no count: it stood against nothing.
    seen = clean.seen.copy()
    for cell in subject.request.cells:
        seen &= columns.of(name, cell.name).seen
    known = clean.right & seen
    right = {}
    worst = known.copy()
    for cell in subject.request.cells:
        still = columns.of(name, cell.name).right & known
        right[cell.name] = int(still.sum())
        worst &= still
    return verdict(
        name,
        clips=int(seen.sum()),
        known=int(known.sum()),
        classes=len(subject.classes),
        right=right,
        worst=int(worst.sum()),
        checks=checks,
        robust_at=subject.request.robust_at,
    )


def _manifest(running: "RunningJob", subject: AuditSubject, columns: OutcomeColumns, videos: int) -> Manifest:
    request = subject.request
    with running.database.read() as session:
        cards = [models.get(session, name) for name in request.models]
        dataset = datasets.get(session, request.dataset)
    device = torch.device(subject.process.device)
    low = gradient_type(request.precision, device)
    return collect(
        request,
        models=[
            ModelIdentity(name=each.name, sha256=each.sha256, card=each.card.model_dump(mode="json"))
            for each in cards
        ],
        dataset=DatasetIdentity(name=dataset.name, spec=dataset.spec, sha256=dataset.sha256, videos=videos),
        precision="float32" if low is None else str(low).removeprefix("torch."),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        torch=torch,
        outcomes_sha256=columns.digest(),
    )


def _examples(
    running: "RunningJob",
    subject: AuditSubject,
    columns: OutcomeColumns,
    videos: Sequence[ListedVideo],
    folder: Path,
) -> dict[str, list[ExampleClip]]:
    """A few videos of each model that its strongest attack fools, attacked again."""
    request = subject.request
    found: dict[str, list[ExampleClip]] = {}
    for number, name in enumerate(request.models):
        clean = columns.of(name, CLEAN)
        cell = min(request.cells, key=lambda each: _share_right(columns.of(name, each.name)))
        fooled = (
            clean.right & columns.of(name, cell.name).seen & ~columns.of(name, cell.name).right
        ).nonzero()[0]
        chosen = random.Random(f"{request.seed}:examples").sample(
            fooled.tolist(), min(len(fooled), request.examples)
        )
        for place in sorted(chosen):
            running.check()
            example = _example(running, subject, name, cell, videos[place], folder / f"{number}-{place}")
            if example is not None:
                found.setdefault(name, []).append(example)
    return found


def _share_right(found: Columns) -> float:
    """Of the videos that could be read."""
    return float(found.right.sum() / max(1, found.seen.sum()))


def _example(
    running: "RunningJob", subject: AuditSubject, name: str, cell: Cell, video: ListedVideo, at: Path
) -> ExampleClip | None:
    request, classifier = subject.request, subject.classifier(name)
    try:
        loaded = load_clip(
            video, classifier.geometry, request.recipe, running.settings.video_limits(), check=running.check
        )
    except BadVideo:
        # It could be read before; what was found then stands.
        return None
    model = subject.model(name)
    shown = VideoClips(video.index, video.label, loaded.pixels.to(subject.process.device))
    (attacked,) = attack_videos(
        model,
        [shown],
        cell.attack,
        seed=request.seed,
        precision=request.precision,
        on_step=lambda _: running.check(),
    )
    files = write_example(
        at.parent, at.name, shown.pixels[0], attacked.clips[0], running.settings.video_limits()
    )
    with torch.no_grad():
        before = mean_softmax(model(shown.pixels))
    after = mean_softmax(attacked.logits)
    words = [f"{subject.classes[int(each.argmax())]} ({float(each.max()):.0%})" for each in (before, after)]
    title = f"{video.name} under {cell.name}"
    return ExampleClip(title, subject.classes[video.label], words[0], words[1], *files)


def _files(
    running: "RunningJob",
    subject: AuditSubject,
    summary: Summary,
    examples: Mapping[str, Sequence[ExampleClip]],
    videos: Sequence[ListedVideo],
    folder: Path,
) -> list[WrittenFile]:
    """Write every file of the report, the most wanted first."""
    made = []

    def add(role: str, filename: str, media_type: str, text: str | None = None) -> Path:
        path = folder / filename
        if text is not None:
            path.write_text(text, encoding="utf-8")
        made.append(WrittenFile(role, path, media_type))
        return path

    add("report", "audit.html", "text/html; charset=utf-8", page(summary, examples=examples))
    add("summary", "audit.json", "application/json", summary.model_dump_json(indent=2))
    assert summary.manifest is not None
    add("manifest", "manifest.json", "application/json", summary.manifest.model_dump_json(indent=2))
    classes, cells = subject.classes, subject.request.cells
    path = add("outcomes-csv", "outcomes.csv", "text/csv; charset=utf-8")
    with path.open("w", newline="", encoding="utf-8") as csv, running.database.read() as session:
        found = outcomes.every(session, subject.audit_id)
        write_csv(csv, found, classes=classes, videos=videos, cells=cells)
    path = add("outcomes-parquet", "outcomes.parquet", "application/vnd.apache.parquet")
    with running.database.read() as session:
        found = outcomes.every(session, subject.audit_id)
        write_parquet(path, found, classes=classes, videos=videos, cells=cells)
    add("table-markdown", "table.md", "text/markdown; charset=utf-8", markdown_table(summary))
    add("table-latex", "table.tex", "application/x-tex", latex_table(summary))
    return made


def _result(summary: Summary) -> dict[str, Any]:
    """What a client sees in the job itself: the verdicts and the main numbers. The rest is in the artifacts."""
    body = summary.model_dump(mode="json")
    return {
        "verdicts": {model["name"]: model["verdict"] for model in body["models"]},
        "models": [
            {
                name: model[name]
                for name in ("name", "clips", "unread", "clean", "cells", "worst", "minimum_epsilons")
            }
            | {"checks": model["checks"]}
            for model in body["models"]
        ],
        "comparisons": body["comparisons"],
        "transfer": body["transfer"],
        "problems": body["problems"],
        "notes": body["notes"],
        "complete": body["complete"],
        "outcomes_sha256": body["manifest"]["outcomes_sha256"],
    }
