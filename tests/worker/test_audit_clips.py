"""Parts of an audit whose files change under it: a video that is not what it was counts for nothing."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, update

from multav.audits.outcome import CLEAN, Outcome
from multav.datasets.catalogue import parse_dataset
from store import datasets, jobs, outcomes
from store.database import Database
from store.models import RegisteredModel
from store.queue import Queue
from store.tables import AuditOutcomeTable, JobTable
from tests.multav.datasets.trees import write_video
from tests.worker.conftest import Process
from worker.run_job import run_job

CELL = "pgd-linf@1e-06"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Three classes of two videos each."""
    root = tmp_path / "videos"
    for number, name in enumerate("abc"):
        for each in range(2):
            fill(root / name / f"{each}.mkv", seed=2 * number + each)
    return root


def fill(path: Path, seed: int) -> None:
    """A video of its own for each seed."""
    pictures = np.random.default_rng(seed).integers(0, 256, (6, 40, 48, 3), np.uint8) // (1 + seed % 3)
    write_video(path, pictures)


def register(database: Database, name: str, root: Path) -> None:
    dataset = parse_dataset({"kind": "class-folder"})
    with database.write() as session:
        datasets.add(
            session, name, dataset, dataset.listing(root), root=str(root), blob=None, origin="folder"
        )


def audit(process: Process, model: RegisteredModel, dataset: str = "mine", **fields: Any) -> str:
    """A planned audit under an attack that can fool nobody; its id."""
    with process.database.write() as session:
        spec = {
            "models": [model.name],
            "model_sha256": {model.name: model.sha256},
            "dataset": dataset,
            "dataset_sha256": datasets.get(session, dataset).sha256,
            "attacks": [{"kind": "pgd-linf", "epsilon": 1e-6, "step_size": 1e-7, "steps": 1}],
            "checks": None,
            "examples": 0,
            **fields,
        }
        job_id = jobs.create(session, kind="audit", spec=spec).id
    run(process, job_id)
    return job_id


def run(process: Process, job_id: str) -> None:
    """One delivery of a message for the job."""
    run_job(
        job_id,
        owner="worker",
        database=process.database,
        queue=Queue(process.settings),
        settings=process.settings,
        process=process,  # type: ignore[arg-type]
        shutting_down=threading.Event(),
    )


def part_of(process: Process, job_id: str) -> str:
    with process.database.read() as session:
        (part,) = jobs.parts(session, job_id)
    return part.id


def run_part(process: Process, job_id: str) -> None:
    run(process, part_of(process, job_id))


def kill_after_clean(process: Process, job_id: str) -> None:
    """As if the part's worker had died when only the clean clips were looked at."""
    run_part(process, job_id)
    with process.database.write() as session:
        session.execute(
            delete(AuditOutcomeTable).where(
                AuditOutcomeTable.job_id == job_id, AuditOutcomeTable.cell != CLEAN
            )
        )
        waiting = {"state": "queued", "owner": None, "finished_at": None, "result": None}
        session.execute(update(JobTable).where(JobTable.parent_id == job_id).values(waiting))
        held = {"state": "running", "owner": None, "lease_until": None, "attempt": 1}
        session.execute(update(JobTable).where(JobTable.id == job_id).values(held))


def rows(process: Process, job_id: str) -> dict[tuple[str, int], Outcome]:
    with process.database.read() as session:
        return {(row.cell, row.clip): row for row in outcomes.every(session, job_id)}


def finished(process: Process, job_id: str) -> jobs.Job:
    """The audit after its last message."""
    run(process, job_id)
    with process.database.read() as session:
        return jobs.get(session, job_id)


@pytest.fixture
def model(make_model: Callable[..., RegisteredModel]) -> RegisteredModel:
    return make_model("small")


def test_nothing_is_done_twice(process: Process, model: RegisteredModel, videos: Path) -> None:
    register(process.database, "mine", videos)
    job_id = audit(process, model)
    kill_after_clean(process, job_id)
    before = rows(process, job_id)
    run_part(process, job_id)
    after = rows(process, job_id)
    assert len(before) == 6
    assert len(after) == 12
    assert {key: row for key, row in after.items() if key in before} == before
    job = finished(process, job_id)
    assert job.state == "succeeded", job.problem
    assert job.result is not None
    assert job.result["complete"]


def test_a_file_that_became_another_video_is_no_success(
    process: Process, model: RegisteredModel, videos: Path
) -> None:
    register(process.database, "mine", videos)
    job_id = audit(process, model)
    kill_after_clean(process, job_id)
    write_video(videos / "a" / "0.mkv", np.full((6, 40, 48, 3), 255, np.uint8))
    run_part(process, job_id)
    row = rows(process, job_id)[CELL, 0]
    assert row.problem is not None
    assert "another video" in row.problem
    assert sum(each.problem is not None for each in rows(process, job_id).values()) == 1


def test_a_file_that_vanished_is_no_success(process: Process, model: RegisteredModel, videos: Path) -> None:
    register(process.database, "mine", videos)
    job_id = audit(process, model)
    kill_after_clean(process, job_id)
    clean = {clip: row for (cell, clip), row in rows(process, job_id).items() if cell == CLEAN}
    gone = next(row.clip for row in clean.values() if row.right)
    sorted(videos.rglob("*.mkv"))[gone].unlink()
    run_part(process, job_id)
    job = finished(process, job_id)
    assert job.result is not None, job.problem
    (found,) = job.result["models"]
    known = sum(row.right for row in clean.values()) - 1
    assert found["cells"][0]["success"]["of"] == known
    verdict = job.result["verdicts"][model.name]
    said = [verdict["sentence"], *verdict["because"]]
    assert not any(f" of {known + 1} " in each for each in said), said


def test_a_folder_that_vanished_is_told_by_the_datasets_name(
    process: Process, model: RegisteredModel, videos: Path, tmp_path: Path
) -> None:
    register(process.database, "mine", videos)
    videos.rename(tmp_path / "elsewhere")
    job = finished(process, audit(process, model))
    assert job.problem is not None
    assert job.problem["code"] == "bad_dataset"
    assert "the folder of dataset 'mine' is not there" in job.problem["detail"]
    assert str(tmp_path) not in job.problem["detail"]


def test_a_disk_that_goes_away_in_the_middle_makes_no_bad_videos(
    process: Process, model: RegisteredModel, videos: Path, tmp_path: Path
) -> None:
    register(process.database, "mine", videos)
    job_id = audit(process, model)
    videos.rename(tmp_path / "elsewhere")
    videos.mkdir()  # a mount point without its disk
    run_part(process, job_id)
    assert not rows(process, job_id)
    job = finished(process, job_id)
    assert job.state == "failed"
    assert job.problem is not None
    assert "the folder of dataset 'mine' is not there" in job.problem["detail"]


def test_a_file_that_came_back_does_not_stop_the_audit(
    process: Process, model: RegisteredModel, videos: Path
) -> None:
    register(process.database, "mine", videos)
    job_id = audit(process, model)
    away = videos / "a" / "0.mkv"
    content = away.read_bytes()
    away.unlink()
    kill_after_clean(process, job_id)
    away.write_bytes(content)
    run_part(process, job_id)
    found = rows(process, job_id)
    assert found[CLEAN, 0].problem is not None
    assert found[CELL, 0].problem == found[CLEAN, 0].problem
    assert finished(process, job_id).state == "succeeded"


def test_two_datasets_of_the_same_names_are_two(
    process: Process, model: RegisteredModel, videos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for path in sorted(videos.rglob("*.mkv")):
        fill(other / path.relative_to(videos), seed=100)
    register(process.database, "mine", videos)
    register(process.database, "other", other)
    first, second = audit(process, model), audit(process, model, "other")
    for job_id in (first, second):
        run_part(process, job_id)
    confidences = [
        {row.clean_confidence for row in rows(process, job_id).values() if row.cell == CLEAN}
        for job_id in (first, second)
    ]
    assert len(confidences[0]) > 1
    assert len(confidences[1]) == 1, "all videos of the other one are alike"


def test_a_folder_that_changed_before_the_audit_is_refused(
    process: Process, model: RegisteredModel, videos: Path
) -> None:
    register(process.database, "mine", videos)
    run_part(process, audit(process, model))
    fill(videos / "a" / "new.mkv", seed=7)
    job_id = audit(process, model)
    with process.database.read() as session:
        job = jobs.get(session, job_id)
    assert job.state == "failed"
    assert job.problem is not None
    assert "not those that were registered" in job.problem["detail"]
