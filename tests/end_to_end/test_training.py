"""Trainings through the real stack: posted, watched, killed, paused, cancelled, and what they make."""

import csv
import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from models.checkpoints import load
from multav import cli
from multav.model_card import read_card
from store import jobs

pytestmark = pytest.mark.xdist_group("end_to_end")

GEOMETRY = {"frames": 8, "stride": 1, "short_side": 32, "height": 32, "width": 32}
SMALL: dict[str, Any] = {
    "start": {
        "architecture": "resnet3d",
        "arguments": {"depth": 10, "widen_factor": 0.125},
        "geometry": GEOMETRY,
    },
    "dataset": "camera-motion-train",
    "subset": {"count": 80},
    "attack": {"kind": "multav-linf", "steps": 2},
    "batch_size": 8,
    "steps": 60,
    "optimiser": {"kind": "adamw"},
    "schedule": {"kind": "cosine", "warm_up": 0.2},
    "validation": {"dataset": "camera-motion", "clips": 20, "every_epochs": 3},
    "checkpoint_minutes": 0.02,
    "audit": False,
}
LONG = {**SMALL, "steps": 100_000}


def curve(stack: Any, job_id: str, **only: str) -> list[dict[str, Any]]:
    return list(stack.client.curve(job_id, **only))


def until_step(stack: Any, wait_for: Any, job_id: str, step: int) -> None:
    def look() -> bool:
        job = stack.client.job(job_id)
        assert job["state"] in ("queued", "running"), job
        return (job["progress"]["done"] or 0) >= step

    wait_for(f"step {step}", look)


def checkpoint_step(stack: Any, job_id: str) -> int:
    from store import training_checkpoints

    database = stack.database()
    with database.read() as session:
        kept = training_checkpoints.find(session, job_id)
    database.close()
    return 0 if kept is None else kept.step


def assert_whole(stack: Any, job: dict[str, Any], steps: int, folder: Path) -> dict[str, Path]:
    """The job succeeded, its model is registered, its files are there once and say what the job says."""
    assert job["state"] == "succeeded", job["problem"]
    result = job["result"]
    assert result["steps"] == steps
    assert job["progress"]["done"] == job["progress"]["total"] == steps
    model = stack.client.model(result["model"])
    assert (model["origin"], model["training_job"], model["sha256"]) == (
        "trained",
        job["id"],
        result["model_sha256"],
    )
    assert result["model"] == job["spec"]["name"]
    files: dict[str, Path] = stack.client.download_all(job["id"], folder)
    assert set(files) == {"model", "curve"}
    assert hashlib.sha256(files["model"].read_bytes()).hexdigest() == result["model_sha256"]
    points = curve(stack, job["id"])
    keys = {(point["series"], point["step"]) for point in points}
    assert len(keys) == len(points), "no point is there twice"
    with files["curve"].open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["series"], int(row["step"])) for row in rows} == keys
    looks = [point for point in points if point["series"] == "look"]
    chosen = next(look for look in looks if look["step"] == result["chosen"]["step"])
    for name in ("clean_accuracy", "robust_accuracy"):
        assert result[name] == chosen[name]
    return files


def test_a_training_over_http(stack: Any, tmp_path: Path) -> None:
    cost = stack.client.estimate_training(SMALL)
    assert (cost["train_clips"], cost["validation_clips"], cost["steps"]) == (80, 20, 60)
    body = {**SMALL, "name": "small-hardened", "audit": True}
    job = stack.client.train(body, key="a training")
    assert stack.client.train(body, key="a training")["id"] == job["id"]
    # From the first event to the last, as they come.
    told: list[tuple[str, dict[str, Any]]] = list(stack.client.events(job["id"]))
    job = stack.client.job(job["id"])
    files = assert_whole(stack, job, 60, tmp_path)
    assert told[-1][1]["job"]["result"] == job["result"]
    steps = [data["step"] for event, data in told if event == "curve" and data["series"] == "step"]
    assert steps == sorted(set(steps))
    assert steps[-1] == 60
    assert [data for event, data in told if event == "curve"] == curve(stack, job["id"])
    card = read_card(files["model"])
    assert card.training_job == job["id"]
    assert card.metrics["validation, under attack"] == pytest.approx(
        job["result"]["robust_accuracy"], abs=1e-6
    )
    asked = json.loads(card.provenance.removeprefix("POST /v1/trainings "))
    assert asked["steps"] == 60
    assert load(files["model"]).classes == tuple(stack.client.model("small-hardened")["classes"])
    # Its audit is a job of its own.
    audit = stack.finished(job["result"]["audit"])
    assert (audit["kind"], audit["state"]) == ("audit", "succeeded"), audit["problem"]
    assert audit["spec"]["models"] == ["small-hardened"]
    assert audit["spec"]["subset"]["count"] == 20
    taken = httpx.post(f"{stack.address}/v1/trainings", json=body, timeout=30)
    assert taken.status_code == 409
    # The same request gives the same weights.
    again = stack.finished(stack.client.train({**SMALL, "name": "small-again"})["id"])
    first, second = (
        load(path).backbone.state_dict() for path in (files["model"], fetched(stack, again, tmp_path))
    )
    assert all(first[name].equal(second[name]) for name in first)


def fetched(stack: Any, job: dict[str, Any], folder: Path) -> Path:
    path: Path = stack.client.download_all(job["id"], folder / job["id"])["model"]
    return path


def kill_worker(stack: Any, job_id: str) -> None:
    psutil.Process(stack.worker_child(job_id).pid).kill()


def test_a_killed_worker_costs_no_step(stack: Any, wait_for: Any, tmp_path: Path) -> None:
    whole = stack.finished(stack.client.train({**SMALL, "steps": 100, "name": "unbroken"})["id"])
    job_id = stack.client.train({**SMALL, "steps": 100, "name": "broken"})["id"]
    for _ in range(2):
        step = checkpoint_step(stack, job_id)
        wait_for("another checkpoint", lambda after=step: checkpoint_step(stack, job_id) > after)
        kill_worker(stack, job_id)
        kept, attempt = checkpoint_step(stack, job_id), stack.client.job(job_id)["attempt"]

        def taken_up(before: int = attempt) -> int | None:
            now = stack.client.job(job_id)
            return now["progress"]["done"] if now["attempt"] > before or now["state"] == "succeeded" else None

        assert wait_for("its first step after the death", taken_up) >= kept, "it began anew"
    job = stack.finished(job_id)
    assert stack.causes(job_id).count("worker_lost") >= 1, "the training was over: it proves nothing"
    files = assert_whole(stack, job, 100, tmp_path / "broken")
    unbroken = load(fetched(stack, whole, tmp_path)).backbone.state_dict()
    broken = load(files["model"]).backbone.state_dict()
    assert all(unbroken[name].equal(broken[name]) for name in unbroken), "it went on bit by bit"
    without_waiting = [
        [
            {**point, "waiting": None}
            for point in sorted(curve(stack, each), key=lambda p: (p["series"], p["step"]))
        ]
        for each in (whole["id"], job_id)
    ]
    assert without_waiting[0] == without_waiting[1]
    for name in ("clean_accuracy", "robust_accuracy", "chosen"):
        assert job["result"][name] == whole["result"][name]


def test_a_training_rests_goes_on_and_is_cancelled(stack: Any, wait_for: Any, tmp_path: Path) -> None:
    job_id = stack.client.train({**LONG, "name": "resting"})["id"]
    until_step(stack, wait_for, job_id, 20)
    stack.client.pause(job_id)
    wait_for("its worker to leave it", lambda: stack.owner(job_id) is None)
    resting = checkpoint_step(stack, job_id)
    assert resting >= 20, "what was done is kept"
    time.sleep(1.0)
    assert stack.client.job(job_id)["state"] == "queued"
    assert checkpoint_step(stack, job_id) == resting
    stack.client.resume(job_id)
    until_step(stack, wait_for, job_id, resting + 10)
    stack.client.cancel(job_id)
    job = stack.finished(job_id)
    assert job["state"] == "cancelled"
    (left,) = job["artifacts"]
    assert left["role"] == "checkpoint"
    path = tmp_path / left["filename"]
    stack.client.download(left["id"], path)
    assert load(path).card.training_job == job_id
    # What was left can be registered by anybody, as any checkpoint.
    model = stack.client.import_model(path, {"name": "rescued"})
    assert (model["origin"], model["architecture"]) == ("uploaded", "resnet3d")
    # A cancelled training can be taken up again, and goes on where it was.
    cancelled_at = checkpoint_step(stack, job_id)
    assert cancelled_at >= resting + 10
    stack.client.resume(job_id)
    until_step(stack, wait_for, job_id, cancelled_at + 5)
    stack.client.cancel(job_id)
    assert stack.finished(job_id)["state"] == "cancelled"
    assert httpx.delete(f"{stack.address}/v1/jobs/{job_id}", timeout=10).status_code == 204
    assert httpx.get(f"{stack.address}/v1/models/resting", timeout=10).status_code == 404


@pytest.fixture
def alone(own_stack: Any) -> Iterator[Any]:
    """A running stack of the test's own, with one worker."""
    own_stack.settings = {"CONCURRENCY": "1"}
    own_stack.start()
    yield own_stack
    own_stack.close()


@pytest.mark.slow
def test_an_attack_does_not_wait_for_a_training(alone: Any, video: Path, wait_for: Any) -> None:
    job_id = alone.client.train({**LONG, "checkpoint_minutes": 60.0})["id"]
    until_step(alone, wait_for, job_id, 20)
    attack = alone.finished(alone.post(video, steps=2))
    assert attack["state"] == "succeeded"
    stepped = alone.client.job(job_id)
    assert stepped["state"] in ("queued", "running"), "the training was over: it proves nothing"
    assert alone.causes(job_id).count("released") >= 1
    at = checkpoint_step(alone, job_id)
    assert at >= 20, "nothing is lost"
    until_step(alone, wait_for, job_id, at + 1)
    alone.client.cancel(job_id)
    assert alone.finished(job_id)["state"] == "cancelled"


def test_the_command_follows_a_training(
    stack: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "training.json"
    path.write_text(json.dumps(SMALL))
    words = ["--server", stack.address, "train", "--spec", str(path), "--name", "by-command"]
    assert cli.main([*words, "--dry-run"]) == 0
    assert "80 to train on, 20 to look at" in capsys.readouterr().out
    assert cli.main([*words, "--wait", "--to", str(tmp_path / "files")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"step +60 .* validation .*% clean, .*% under attack", said)
    assert re.search(r"step +30 .* loss ", said)
    assert sorted(each.name for each in (tmp_path / "files").iterdir()) == [
        "by-command.csv",
        "by-command.safetensors",
    ]
    assert cli.main([*words, "--wait"]) == 1
    assert "another model is registered as 'by-command'" in capsys.readouterr().err


def test_a_training_that_cannot_be_made_says_why(stack: Any) -> None:
    arguments = {"depth": 200, "widen_factor": 4}
    start = {"architecture": "resnet3d", "arguments": arguments, "geometry": GEOMETRY}
    job = stack.finished(stack.client.train({**SMALL, "start": start})["id"])
    assert (job["state"], job["problem"]["code"]) == ("failed", "bad_checkpoint")
    assert "parameters; at most" in job["problem"]["detail"]
    job = stack.finished(
        stack.client.train({**SMALL, "optimiser": {"kind": "sgd", "learning_rate": 100.0, "momentum": 0.99}})[
            "id"
        ]
    )
    assert (job["state"], job["problem"]["code"]) == ("failed", "training_diverged")


@pytest.mark.slow
def test_a_name_that_was_taken_meanwhile(stack: Any, wait_for: Any, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    stack.client.download_model("camera-motion-r3d18", model)
    job_id = stack.client.train({**SMALL, "name": "wanted-twice"})["id"]
    until_step(stack, wait_for, job_id, 1)
    stack.client.import_model(model, {"name": "wanted-twice"})
    job = stack.finished(job_id)
    assert (job["state"], job["problem"]["code"]) == ("failed", "conflict")
    assert "resume this job" in job["problem"]["detail"]
    stack.client.delete_model("wanted-twice")
    stack.client.resume(job_id)
    assert_whole(stack, stack.finished(job_id), 60, tmp_path / "files")


@pytest.mark.slow
def test_a_training_on_postgresql(own_stack: Any, postgresql: str, wait_for: Any, tmp_path: Path) -> None:
    own_stack.settings = {"DATABASE_URL": postgresql, "CONCURRENCY": "2"}
    own_stack.start()
    job_id = own_stack.client.train({**SMALL, "steps": 90, "name": "on-postgresql"})["id"]
    wait_for("a checkpoint", lambda: checkpoint_step(own_stack, job_id) > 0)
    kill_worker(own_stack, job_id)
    assert_whole(own_stack, own_stack.finished(job_id), 90, tmp_path / "files")


@pytest.mark.slow
def test_on_two_devices(stack: Any, wait_for: Any, tmp_path: Path) -> None:
    """Two processes of the worker's share the batches, also of one that was paused: the job is like any other."""
    job_id = stack.client.train({**SMALL, "steps": 120, "devices": 2, "name": "by-two"})["id"]
    until_step(stack, wait_for, job_id, 10)
    stack.client.pause(job_id)
    wait_for("its worker to leave it", lambda: stack.owner(job_id) is None)
    assert checkpoint_step(stack, job_id) >= 10
    stack.client.resume(job_id)
    files = assert_whole(stack, stack.finished(job_id), 120, tmp_path)
    assert load(files["model"]).card.training_job == job_id


@pytest.mark.slow
def test_on_two_hosts(stack: Any, wait_for: Any, tmp_path: Path) -> None:
    """One worker has the job, the other joins it. One that is killed is replaced; a pause stops both."""
    asked = {**SMALL, "steps": 200, "devices": 2, "hosts": 2, "name": "by-two-hosts"}
    job_id = stack.client.train(asked)["id"]
    until_step(stack, wait_for, job_id, 10)

    def helper() -> str | None:
        database = stack.database()
        with database.read() as session:
            found = [part.owner for part in jobs.parts(session, job_id) if part.state == "running"]
        database.close()
        return found[0] if found else None

    other = helper()
    assert other not in (None, stack.owner(job_id))
    os.kill(int(str(other).split(":")[1]), signal.SIGKILL)
    wait_for("another one", lambda: helper() not in (None, other))
    step = stack.client.job(job_id)["progress"]["done"]
    until_step(stack, wait_for, job_id, step + 5)
    stack.client.pause(job_id)
    wait_for("both to leave it", lambda: stack.owner(job_id) is None and helper() is None)
    assert checkpoint_step(stack, job_id) >= step
    stack.client.resume(job_id)
    assert_whole(stack, stack.finished(job_id), 200, tmp_path)
    assert helper() is None


@pytest.mark.slow
def test_two_trainings_that_each_hold_the_worker_that_the_other_lacks(stack: Any, tmp_path: Path) -> None:
    """The younger lets go, and has its turn when the older one is done; the parts of an audit wait for them."""
    audit = stack.client.audit(
        {"subset": {"count": 40}, "attacks": [{"kind": "multav-linf"}], "checks": None}
    )
    asked = {**SMALL, "steps": 20, "devices": 2, "hosts": 2}
    both = [stack.client.train({**asked, "name": name})["id"] for name in ("holds-one", "holds-the-other")]
    for job_id in both:
        assert_whole(stack, stack.finished(job_id), 20, tmp_path / job_id)
    assert stack.finished(audit["id"])["state"] == "succeeded"
