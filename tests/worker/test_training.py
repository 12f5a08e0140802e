"""A training whose worker dies at the worst moments: what was reached is reached, and is made once."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models.checkpoints import load
from multav.datasets.catalogue import parse_dataset
from multav.errors import Interrupted
from multav.training.curve import CurvePoint
from multav.training.request import TrainingRequest
from multav.training.validation_looks import ValidationLooks
from store import artifacts, blobs, datasets, jobs, models, outcomes, training_checkpoints, training_points
from store.database import Database, now
from store.jobs import Claim, ClaimLost, Job
from store.tables import ArtifactTable, JobTable
from tests.multav.datasets import trees
from tests.worker.conftest import Process
from worker.own_order import videos_of
from worker.run_job import run_job
from worker.runners import training
from worker.runners.training import run_training
from worker.running_job import RunningJob

SPEC: dict[str, Any] = {
    "name": "hardened",
    "start": {
        "architecture": "resnet3d",
        "arguments": {"depth": 10, "widen_factor": 0.0625},
        "geometry": {"frames": 4, "stride": 1, "short_side": 16, "height": 16, "width": 16},
    },
    "dataset": "few",
    "validation": {"dataset": "held-out", "clips": 10},
    "attack": {"kind": "multav-linf", "steps": 1},
    "batch_size": 10,
    "steps": 8,
    "precision": "float32",
}


def create(database: Database, **other: Any) -> str:
    spec = TrainingRequest.parse(SPEC | other).model_dump(mode="json")
    with database.write() as session:
        return jobs.create(session, kind="training", spec=spec, uses=[("model", spec["name"])]).id


def begin(process: Process, job_id: str, *, stop: threading.Event | None = None) -> RunningJob:
    with process.database.write() as session:
        claim = jobs.claim(session, job_id, "w", 60)
        assert claim is not None
        job = jobs.get(session, job_id)
    return RunningJob(job, claim, process.database, process.settings, stop or threading.Event())


def die(process: Process, claim: Claim) -> None:
    """The worker is gone, and the sweeper finds out."""
    with process.database.write() as session:
        session.execute(update(JobTable).where(JobTable.id == claim.job_id).values(lease_until=now() - 1))
    with process.database.write() as session:
        assert jobs.sweep(session, nudge_seconds=60).requeued == (claim.job_id,)


def finish(process: Process, job_id: str) -> Job:
    run_job(
        job_id,
        owner="other",
        database=process.database,
        queue=process.queue,
        settings=process.settings,
        process=process,  # type: ignore[arg-type]
        shutting_down=threading.Event(),
    )
    with process.database.read() as session:
        return jobs.get(session, job_id)


def assert_made_once(process: Process, job: Job) -> None:
    assert job.state == "succeeded", job.problem
    assert job.result is not None
    with process.database.read() as session:
        model = models.get(session, "hardened")
        made = {artifact.role: artifact for artifact in artifacts.for_job(session, job.id)}
        audits = jobs.listed(session, kind="audit").items
        kept = training_checkpoints.get(session, job.id)
    assert (model.origin, model.sha256, model.card.training_job) == (
        "trained",
        job.result["model_sha256"],
        job.id,
    )
    assert set(made) == {"model", "curve"}
    assert made["model"].sha256 == model.sha256
    assert [audit.id for audit in audits] == [job.result["audit"]]
    assert audits[0].spec["models"] == ["hardened"]
    assert audits[0].spec["dataset"] == "held-out"
    assert (kept.blob_id, kept.result) == (None, job.result)
    assert (job.done, job.total) == (8, 8)


def test_death_before_the_end_is_written(process: Process) -> None:
    job_id = create(process.database)
    running = begin(process, job_id)
    result = run_training(running, process)  # type: ignore[arg-type]
    die(process, running.claim)
    job = finish(process, job_id)
    assert_made_once(process, job)
    assert job.result == result, "what was done is not done again"
    with process.database.read() as session:
        assert (
            blobs.get(session, models.get(session, "hardened").blob_id or "").sha256 == result["model_sha256"]
        )


def test_death_between_registration_and_files(process: Process) -> None:
    job_id = create(process.database)
    running = begin(process, job_id)
    with process.folders.open() as folder:
        request = TrainingRequest.parse(running.job.spec)
        result = training._Training(running, process, request, folder).run(None)  # type: ignore[arg-type]
    die(process, running.claim)
    job = finish(process, job_id)
    assert_made_once(process, job)
    assert job.result == result


def test_death_between_the_training_and_registration(process: Process) -> None:
    """All steps are done and kept: the next worker only registers."""
    whole = create(process.database, name="unbroken", audit=False)
    expected = finish(process, whole).result
    job_id = create(process.database)
    running = begin(process, job_id)
    with process.folders.open() as folder:
        request = TrainingRequest.parse(running.job.spec)
        one = training._Training(running, process, request, folder)  # type: ignore[arg-type]
        one._register = _fall  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            one.run(None)
    with process.database.read() as session:
        kept = training_checkpoints.get(session, job_id)
        before = training_points.every(session, job_id)
        assert models.find(session, "hardened") is None
    assert (kept.step, kept.result) == (8, None)
    die(process, running.claim)
    job = finish(process, job_id)
    assert_made_once(process, job)
    assert expected is not None
    assert job.result is not None
    assert job.result["robust_accuracy"] == expected["robust_accuracy"]
    with process.database.read() as session:
        assert training_points.every(session, job_id) == before


def _fall(*_: Any) -> dict[str, Any]:
    raise SystemExit


def test_a_worker_that_was_given_up_registers_nothing(process: Process) -> None:
    job_id = create(process.database)
    slow = begin(process, job_id)
    die(process, slow.claim)
    with pytest.raises(ClaimLost):
        run_training(slow, process)  # type: ignore[arg-type]
    with process.database.read() as session:
        assert models.find(session, "hardened") is None
        assert training_checkpoints.find(session, job_id) is None
        assert training_points.every(session, job_id) == []
        assert jobs.listed(session, kind="audit").items == ()
    assert_made_once(process, finish(process, job_id))


def test_a_worker_that_stops_keeps_what_was_done(process: Process) -> None:
    job_id = create(
        process.database, steps=10_000, validation={"dataset": "held-out", "clips": 10, "every_epochs": 1000}
    )
    stop = threading.Event()
    running = begin(process, job_id, stop=stop)

    def stop_after_some_steps() -> None:
        done = 0
        while done < 3:
            time.sleep(0.1)
            with process.database.read() as session:
                done = jobs.get(session, job_id).done or 0
        stop.set()

    stopper = threading.Thread(target=stop_after_some_steps, daemon=True)
    stopper.start()
    with pytest.raises(Interrupted):
        run_training(running, process)  # type: ignore[arg-type]
    stopper.join()
    with process.database.write() as session:
        jobs.release(session, running.claim)
        kept = training_checkpoints.get(session, job_id)
        assert session.query(ArtifactTable).count() == 0
    assert kept.step >= 3
    assert kept.blob_id is not None


def test_attacks_that_keep_coming_break_a_look_off_once(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on looks first, and gives way when it has got somewhere."""
    looking, broken_off = False, 0
    whole_look = ValidationLooks.look

    def look(looks: ValidationLooks, *arguments: Any) -> CurvePoint:
        nonlocal looking
        looking = True
        try:
            return whole_look(looks, *arguments)
        finally:
            looking = False

    def give_way(_: RunningJob) -> None:
        nonlocal broken_off
        if looking:
            broken_off += 1
            raise Interrupted

    monkeypatch.setattr(ValidationLooks, "look", look)
    monkeypatch.setattr(RunningJob, "give_way", give_way)
    monkeypatch.setattr(training, "_AT_LEAST_SECONDS", -1.0)
    monkeypatch.setattr(training, "_LOOK_SECONDS", -1.0)
    # Looks behind steps 3, 6 and 8.
    job_id = create(process.database)
    attempts = 1
    while (job := finish(process, job_id)).state == "queued":
        attempts += 1
        assert attempts < 10, "no look comes to its end"
    assert_made_once(process, job)
    assert (attempts, broken_off) == (4, 3)


def test_a_training_that_diverges_leaves_its_last_checkpoint(process: Process, tmp_path: Path) -> None:
    """A file that anybody can register; the second attempt has nothing but what the first one kept."""
    wild = {
        "optimiser": {"kind": "adamw", "learning_rate": 100.0},
        "schedule": {"kind": "cosine", "warm_up": 0.05},
        "steps": 400,
        "validation": {"dataset": "held-out", "clips": 10, "every_epochs": 1000},
    }
    job_id = create(process.database, checkpoint_minutes=1e-9, **wild)
    for attempt in (1, 2):
        job = finish(process, job_id)
        assert job.state == "failed"
        assert job.problem is not None
        assert job.problem["code"] == "training_diverged"
        diverged_at = int(re.findall(r"at step (\d+)", job.problem["detail"])[0])
        with process.database.read() as session:
            kept = training_checkpoints.get(session, job_id)
            (left,) = artifacts.for_job(session, job_id)
        assert 0 < kept.step < diverged_at - 1
        assert (left.role, left.filename) == ("checkpoint", f"hardened-step-{kept.step}.safetensors")
        path = tmp_path / f"{attempt}-{left.filename}"
        blobs.to_file(process.database, left.blob_id, path)
        card = load(path).card
        # Registered under its own name it is in nobody's way: the training can still be resumed.
        assert (card.training_job, card.name) == (job_id, f"hardened-step-{kept.step}")
        with process.database.write() as session:
            jobs.resume(session, job_id, more_attempts=3)


def test_a_training_that_diverges_at_once_leaves_nothing(process: Process) -> None:
    wild = {"optimiser": {"kind": "sgd", "learning_rate": 100.0, "momentum": 0.99}, "steps": 100}
    job = finish(process, create(process.database, **wild))
    assert job.problem is not None
    assert job.problem["code"] == "training_diverged"
    with process.database.read() as session:
        assert artifacts.for_job(session, job.id) == ()


def test_videos_that_were_set_aside_are_what_the_model_is_audited_on(process: Process) -> None:
    fields = {"validation": {"clips": 10, "share": 0.4}}
    job = finish(process, create(process.database, **fields))
    assert job.result is not None, job.problem
    assert not any("audit" in remark for remark in job.result["remarks"])
    audit_id = job.result["audit"]
    with process.database.read() as session:
        spec = jobs.get(session, audit_id).spec
    aside = videos_of(TrainingRequest.parse(job.spec), process)  # type: ignore[arg-type]
    names = [video.name for video in aside.validation]
    assert len(names) == 10
    assert not {video.name for video in aside.train} & set(names)
    assert (spec["dataset"], spec["subset"]["videos"]) == ("few", names)
    # Its first claim plans what is looked at.
    finish(process, audit_id)
    with process.database.read() as session:
        planned = outcomes.clips_of(session, audit_id)
    assert sorted(clip.name for clip in planned) == sorted(names)


def test_no_audit_where_none_can_be_made(process: Process) -> None:
    classes = ["pan left", "pan right", "static"]
    fewer = finish(process, create(process.database, name="fewer", subset={"classes": classes}, batch_size=4))
    assert fewer.result is not None, fewer.problem
    assert fewer.result["audit"] is None
    assert any("is not trained for" in remark for remark in fewer.result["remarks"])
    unasked = finish(process, create(process.database, name="unasked", audit=False))
    assert unasked.result is not None
    assert (unasked.result["audit"], unasked.result["remarks"]) == (None, [])


def test_only_videos_that_give_clips_are_counted(process: Process, tmp_path: Path) -> None:
    """And the result says of which set the others are."""
    for name, videos, bad in (("files", 4, ("run/0.avi", "swim/1.avi")), ("other-files", 2, ("swim/0.avi",))):
        root = tmp_path / name
        for label in ("run", "swim"):
            for number in range(videos):
                path = trees.write_video(root / label / f"{number}.avi", trees.noise(5, seed=number))
                if f"{label}/{number}.avi" in bad:
                    path.write_bytes(b"no video")
        dataset = parse_dataset({"kind": "class-folder"})
        with process.database.write() as session:
            datasets.add(
                session, name, dataset, dataset.listing(root), root=str(root), blob=None, origin="folder"
            )
    fields = {"dataset": "files", "validation": {"dataset": "other-files"}, "batch_size": 4, "audit": False}
    job = finish(process, create(process.database, **fields))
    assert job.result is not None, job.problem
    assert (job.result["train_clips"], job.result["validation_clips"]) == (6, 3)
    assert job.result["remarks"] == [
        "2 of the 8 training videos and 1 of the 4 validation videos were left out: no clip could be made of them"
    ]
    assert {each["video"] for each in job.result["bad_videos"]} == {"run/0.avi", "swim/1.avi", "swim/0.avi"}


def test_a_start_model_is_left_as_it_is(process: Process, make_model: Any) -> None:
    make_model("start")
    with process.database.read() as session:
        before = models.get(session, "start")
    attacked = process.models.get("start")
    tensors = {name: tensor.clone() for name, tensor in attacked.state_dict().items()}
    job = finish(process, create(process.database, start={"model": "start", "head": "new"}, audit=False))
    assert job.state == "succeeded", job.problem
    assert process.models.get("start") is attacked
    assert all(tensor.equal(tensors[name]) for name, tensor in attacked.state_dict().items())
    assert not any(parameter.requires_grad for parameter in attacked.parameters())
    with process.database.read() as session:
        assert models.get(session, "start") == before
        assert models.get(session, "hardened").card.description.startswith("start with a new last layer")
