"""POST /v1/trainings at the door: what is accepted, what it costs, what does not fit together; curves and events."""

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from models.architecture_names import ARCHITECTURE_NAMES
from multav import cli
from multav.geometry import InputGeometry
from multav.model_card import ModelCard
from multav.training.curve import CurvePoint
from multav.training.request import TrainingRequest
from store import artifacts, blobs, jobs, models, speeds, training_points, workers
from store.tables import SpeedTable

MODEL = "camera-motion-r3d18"
RESULT: dict[str, Any] = {
    "model_sha256": "0" * 64,
    "steps": 800,
    "epochs": 4.7,
    "seconds": 600.0,
    "stopped_early": False,
    "chosen": {"step": 672, "epoch": 4.0, "on": "500 clips: dataset camera-motion"},
    "clean_accuracy": 0.91,
    "robust_accuracy": 0.62,
    "train_clean_accuracy": None,
    "train_robust_accuracy": None,
    "audit": None,
    "bad_videos": [],
    "remarks": [],
}
NETWORK: dict[str, Any] = {"architecture": "resnet3d", "arguments": {"depth": 10, "widen_factor": 0.125}}


def post(service: Any, body: Any, **query: str) -> Any:
    return service.client.post("/v1/trainings", json=body, params=query)


def test_a_training_is_accepted_with_every_default_spelled_out(service: Any) -> None:
    answer = post(service, {})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["state"]) == ("training", "queued")
    assert job["links"]["curve"] == f"/v1/trainings/{job['id']}/curve"
    spec = job["spec"]
    assert re.fullmatch(rf"{MODEL}-multav-linf-[0-9a-f]{{6}}", spec["name"])
    model = service.client.get(f"/v1/models/{MODEL}").json()
    assert spec["start"]["model"] == MODEL
    assert spec["start"]["model_sha256"] == model["sha256"]
    assert spec["start"]["geometry"] == model["geometry"]
    assert spec["start"]["head"] == "keep"
    assert spec["dataset"] == "camera-motion-train"
    assert len(spec["dataset_sha256"]) == 64
    assert spec["attack"]["kind"] == "multav-linf"
    assert TrainingRequest.parse(spec).model_dump(mode="json") == spec
    taken = post(service, spec)
    assert (taken.status_code, taken.json()["code"]) == (409, "conflict"), (
        "another training is making that name"
    )
    again = post(service, {**spec, "name": None})
    assert again.status_code == 202, "what was resolved can be posted again"
    assert {**again.json()["spec"], "name": spec["name"]} == spec
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert post(service, spec).status_code == 202, "nobody is making it any more"


def test_random_weights_see_what_the_paper_s_networks_see(service: Any) -> None:
    spec = post(service, {"start": NETWORK, "attack": None}).json()["spec"]
    assert spec["name"].startswith("resnet3d-clean-")
    assert (spec["start"]["model"], spec["start"]["head"]) == (None, "new")
    geometry = spec["start"]["geometry"]
    assert (geometry["frames"], geometry["height"], geometry["mean"]) == (40, 112, [0, 0, 0])


def test_of_the_input_only_what_differs_must_be_given(service: Any) -> None:
    known = service.client.get(f"/v1/models/{MODEL}").json()["geometry"]

    def seen(start: dict[str, Any]) -> Any:
        return post(service, {"start": start}).json()["spec"]["start"]["geometry"]

    assert seen({"geometry": {"frames": 16}}) == known | {"frames": 16}
    assert seen({"geometry": {"frames": None}}) == known
    smaller = {"short_side": 64, "height": 48, "width": 64}
    paper = {"frames": 40, "stride": 1, "mean": [0, 0, 0], "std": [1, 1, 1]}
    assert seen({**NETWORK, "geometry": smaller}) == paper | smaller
    for query in ({}, {"dry_run": "true"}):
        answer = post(service, {"start": {"geometry": {"height": 400}}}, **query)
        assert answer.status_code == 422, answer.text
        (wrong,) = answer.json()["errors"]
        assert wrong["pointer"] == "/start/geometry"
        assert "make short_side at least 400" in wrong["detail"]


def test_weights_keep_the_mean_that_they_know_unless_another_is_given(service: Any) -> None:
    sizes = {"frames": 8, "stride": 1, "short_side": 40, "height": 40, "width": 40}
    known = service.client.get(f"/v1/models/{MODEL}").json()["geometry"]
    for given, mean in ((sizes, known["mean"]), (sizes | {"mean": [0, 0, 0]}, [0, 0, 0])):
        seen = post(service, {"start": {"geometry": given}}).json()["spec"]["start"]["geometry"]
        assert (seen["height"], seen["mean"], seen["std"]) == (40, mean, known["std"])


def test_other_classes_take_a_new_head(service: Any) -> None:
    body = {"subset": {"classes": ["pan left", "pan right", "static"]}, "attack": {"kind": "pgd-linf"}}
    assert post(service, body).json()["spec"]["start"]["head"] == "new"
    kept = post(service, {**body, "start": {"head": "keep"}})
    assert kept.status_code == 422
    assert "knows 7 that it does not have" in kept.json()["detail"]


def test_a_mixture_and_a_long_name(service: Any) -> None:
    mixture = {"kind": "mixture", "attacks": [{"kind": "multav-linf"}, {"kind": "pgd-linf"}]}
    name = post(service, {"attack": mixture, "start": {"architecture": "r2plus1d_18"}}).json()["spec"]["name"]
    assert name.startswith("r2plus1d_18-mixture-")


def test_validation_on_a_dataset_is_pinned_and_kept(service: Any) -> None:
    service.client.post("/v1/datasets", json={"name": "held-out", "kind": "synthetic", "clips": 40})
    job = post(service, {"validation": {"dataset": "held-out"}}).json()
    assert len(job["spec"]["validation"]["dataset_sha256"]) == 64
    assert service.client.delete("/v1/datasets/held-out").status_code == 409
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert service.client.delete("/v1/datasets/held-out").status_code == 204


def cost(service: Any, **body: Any) -> Any:
    answer = post(service, body, dry_run="true")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def measured(service: Any) -> Callable[..., None]:
    """Notes seconds of a gradient of a model, where nothing was measured before."""
    with service.database.write() as session:
        session.execute(delete(SpeedTable))

    def note(seconds: float, *, model: str = MODEL, device: str = "cpu") -> None:
        sha256 = service.client.get(f"/v1/models/{model}").json()["sha256"]
        with service.database.write() as session:
            speeds.note(session, model_sha256=sha256, device=device, precision="auto", seconds=seconds)

    return note


def test_what_it_would_cost(service: Any, measured: Callable[..., None]) -> None:
    body = {"batch_size": 32, "epochs": 2, "validation": {"clips": 100}, "clean_fraction": 0.5}
    before = len(service.client.get("/v1/jobs", params={"kind": "training", "limit": 200}).json()["items"])
    said = cost(service, **body)
    assert (said["train_clips"], said["validation_clips"]) == (5400, 100)
    few = cost(service, subset={"count": 60})
    assert (few["train_clips"], few["validation_clips"]) == (50, 10), "of each class one is set aside"
    assert (said["steps_per_epoch"], said["steps"], said["looks"]) == (168, 336, 2)
    # Each look goes through as many training clips as there are validation clips.
    assert said["gradients"] == 336 * 32 * (0.5 * 5 + 1) + 2 * (100 + 100) * 5
    assert said["predictions"] == 2 * (100 + 100) * 2
    assert said["seconds"] is None
    assert any("never measured" in remark for remark in said["remarks"])
    assert said["memory_bytes"] > 1e6
    measured(0.01)
    said = cost(service, **body)
    assert said["seconds"] == pytest.approx(0.01 * (336 * 32 * (0.5 * 5 + 1.5) + 2 * 200 * (5 + 0.6 * 2)))
    assert said["measured_on"] == "cpu"
    assert not any("rough" in remark for remark in said["remarks"])
    shared = cost(service, **body, devices=2)
    assert shared["seconds"] == said["seconds"], "two cores were two cores before"
    measured(0.01, device="cuda")
    assert cost(service, **body, devices=2)["seconds"] == pytest.approx(said["seconds"] / 2)
    after = len(service.client.get("/v1/jobs", params={"kind": "training", "limit": 200}).json()["items"])
    assert after == before, "a dry run leaves nothing behind"


@pytest.mark.parametrize(
    ("start", "times"),
    [
        ({"geometry": {"frames": 32}}, 4.0),
        ({"geometry": {"short_side": 112, "height": 112, "width": 112}}, 4.0),
        ({"geometry": {"frames": 16, "short_side": 112, "height": 112, "width": 112}}, 8.0),
        ({"arguments": {"denoise": "official"}}, 1.03),
    ],
    ids=str,
)
def test_what_differs_from_the_measured_model_costs_more(
    service: Any, measured: Callable[..., None], start: dict[str, Any], times: float
) -> None:
    """In proportion to the values of a clip, about: so are the multiply-adds of convolutions."""
    measured(0.01)
    plain = cost(service)
    found = cost(service, start=start)
    assert found["seconds"] == pytest.approx(plain["seconds"] * times, rel=0.05)
    assert found["seconds"] != plain["seconds"]
    (remark,) = [each for each in found["remarks"] if "rough" in each]
    assert "8 frames of 56x56" in remark


def test_a_network_that_was_never_measured_has_a_rough_time(
    service: Any, measured: Callable[..., None]
) -> None:
    import torch

    from models.architectures import ARCHITECTURES
    from models.counts import counts

    sizes = {"frames": 16, "stride": 1, "short_side": 64, "height": 64, "width": 64}
    body: dict[str, Any] = {
        "start": NETWORK | {"geometry": sizes},
        "attack": None,
        "validation": {"clips": 1},
    }
    assert cost(service, **body)["seconds"] is None
    measured(0.01)
    said = cost(service, **body)
    with torch.device("meta"):
        network = ARCHITECTURES["resnet3d"](10, **NETWORK["arguments"])
    sibling = service.client.get(f"/v1/models/{MODEL}-clean").json()
    times = counts(network, (1, 3, 16, 64, 64)).multiply_adds / sibling["macs"]
    asked = said["gradients"] * 1.5 + said["predictions"] * 0.6
    assert said["seconds"] == pytest.approx(0.01 * times * asked)
    (remark,) = [each for each in said["remarks"] if "rough" in each]
    assert f"the speed of resnet3d was never measured here, and is guessed from that of {MODEL}" in remark
    other = cost(service, start={"model": f"{MODEL}-pgd"})
    assert other["seconds"] == pytest.approx(cost(service)["seconds"]), "the same network"
    # An operator's own code has what its card says of it; it is as large as what is to be trained.
    own = ModelCard(
        name="as-large",
        architecture="own",
        classes=("a", "b"),
        geometry=InputGeometry(frames=16, stride=1, short_side=64, height=64, width=64),
        macs=round(times * sibling["macs"]),
    )
    with service.database.write() as session:
        models.declare(session, own, sha256="5" * 64, blob=None, origin="own")
    measured(0.5, model="as-large")
    measured(0.01)
    nearest = cost(service, **body)
    assert nearest["seconds"] == pytest.approx(0.5 * asked)
    assert any(
        "guessed from that of as-large, which multiplies 1 times" in each for each in nearest["remarks"]
    )
    # What computes now is what was measured last.
    measured(0.001, device="cuda")
    on_gpu = cost(service, **body)
    assert (on_gpu["measured_on"], on_gpu["seconds"]) == ("cuda", pytest.approx(said["seconds"] / 10))


def test_what_cannot_be_audited_afterwards_is_said_before(service: Any) -> None:
    service.client.post("/v1/datasets", json={"name": "own", "kind": "synthetic", "clips": 60, "seed": 5})
    few = {"classes": ["pan left", "pan right"]}
    for body in ({"dataset": "own", "subset": few}, {"subset": few}):
        said = post(service, body, dry_run="true").json()["remarks"]
        assert any("no audit" in remark and "8 classes" in remark for remark in said)
    for body in (
        {"dataset": "own"},
        {"dataset": "own", "subset": few, "audit": False},
        {"dataset": "own", "validation": {"dataset": "camera-motion"}},
    ):
        said = post(service, body, dry_run="true").json()["remarks"]
        assert not any("no audit" in remark for remark in said)


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"start": {"model": "nobody"}}, "/start/model", "there is no model 'nobody'"),
        ({"start": {"model": "a\0b"}}, "/start/model", "there is no model"),
        ({"start": {"model": MODEL, "architecture": "resnet3d"}}, "/start", "give one of them"),
        ({"start": {"model_sha256": "0" * 64}}, "/start/model_sha256", "has the SHA-256"),
        ({"start": {"architecture": "vit"}}, "/start/architecture", "known are: resnet3d"),
        ({"start": {"architecture": "resnet3d", "head": "keep"}}, "/start/head", "no head to keep"),
        ({"start": {"architecture": "resnet3d", "arguments": {"a": "\0"}}}, "/start/arguments", "NUL"),
        (
            {"start": {"architecture": "resnet3d", "arguments": {"a b": 1}}},
            "/start/arguments/a b/[key]",
            "letters, digits and '_'",
        ),
        (
            {"start": {"architecture": "resnet3d", "arguments": {"depth": 11}}},
            "/start/arguments/depth",
            "depth=11 is not one of 10, 18",
        ),
        (
            {"start": {"architecture": "r3d_18", "arguments": {"depth": 18}}},
            "/start/arguments/depth",
            "r3d_18 has no argument 'depth'",
        ),
        (
            {"start": {"arguments": {"denoise_options": {"relu": True}}}},
            "/start/arguments/denoise_options",
            "need denoise",
        ),
        ({"start": {"arguments": {"k": 2}}}, "/start/arguments/k", "has no argument 'k'"),
        ({"name": "X"}, "/name", "must be 1 to 100 small letters, digits, "),
        ({"dataset": "ucf101"}, "/dataset", "there is no dataset 'ucf101'"),
        ({"dataset_sha256": "0" * 64}, "/dataset_sha256", "has the SHA-256"),
        ({"validation": {"dataset": "nothing"}}, "/validation/dataset", "there is no dataset 'nothing'"),
        ({"validation": {"dataset": "camera-motion-train"}}, "/validation/dataset", "training videos"),
        (
            {"validation": {"dataset": "camera-motion", "dataset_sha256": "0" * 64}},
            "/validation/dataset_sha256",
            "has the SHA-256",
        ),
        ({"subset": {"classes": ["jumping"]}}, "/subset/classes", "has no class 'jumping'"),
        ({"subset": {"classes": ["static"]}}, "/subset/classes", "two classes"),
        ({"subset": {"count": 1}}, "/subset", "two videos"),
        ({"subset": {"count": 10**6}}, "/subset/count", "are there"),
        ({"attack": {"kind": "multav-af", "width": 40}}, "/attack/width", MODEL),
        ({"attack": {"kind": "fgsm"}}, "/attack", "there is no kind 'fgsm'"),
        ({"attack": {"kind": "pgd-linf", "targeted": True}}, "/attack/targeted", "leave targeted out"),
        (
            {
                "attack": {"kind": "pgd-linf", "loss": "dlr"},
                "subset": {"classes": ["pan left", "pan right"]},
            },
            "/attack/loss",
            "needs 3 classes",
        ),
        ({"validation": {"attack": {"kind": "multav-af", "width": 40}}}, "/validation/attack/width", MODEL),
        ({"checkpoint_minutes": 1000.0}, "/checkpoint_minutes", "more often"),
        ({"devices": 65}, "/devices", "less than or equal to 64"),
        ({"devices": 3}, "/devices", "cannot be shared by 3"),
        ({"devices": 4}, "/devices", "at most 2"),
        ({"devices": 2, "accumulation": 2}, "/accumulation", "at most 1"),
        ({"models": [MODEL]}, "/models", "no such field"),
        ([], "", "must be a JSON object"),
    ],
)
def test_what_cannot_be_trained(service: Any, body: Any, pointer: str, words: str) -> None:
    for query in ({}, {"dry_run": "true"}):
        answer = post(service, body, **query)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
        problem = answer.json()
        assert problem["code"] == "invalid_spec"
        said = problem.get("errors") or [{"pointer": "", "detail": problem["detail"]}]
        assert any(each["pointer"] == pointer and words in each["detail"] for each in said), said


def test_more_devices_than_any_worker_has(service: Any) -> None:
    """Known where all workers are on the service's own machine."""
    cores = os.cpu_count() or 1
    beyond = {"devices": cores + 1, "batch_size": 2 * (cores + 1)}
    here, elsewhere = f"{socket.gethostname()}:1:a", "elsewhere:1:a"

    def asked(**query: str) -> Any:
        return post(service, {**beyond, "attack": None}, **query)

    def there(worker: str) -> None:
        with service.database.write() as session:
            workers.beat(session, worker, device="cpu", job_id=None)

    assert asked().status_code == 202, "nobody is there: whoever comes may have so many"
    try:
        there(here)
        for query in ({}, {"dry_run": "true"}):
            answer = asked(**query)
            assert answer.status_code == 422, answer.text
            (wrong,) = answer.json()["errors"]
            assert wrong["pointer"] == "/devices"
            assert f"has {cores} processor cores" in wrong["detail"]
        fitting = {"devices": cores, "batch_size": 2 * cores, "attack": None}
        assert post(service, fitting).status_code == 202
        there(elsewhere)
        assert asked().status_code == 202, "that machine is not known"
    finally:
        with service.database.write() as session:
            for worker in (here, elsewhere):
                workers.leave(session, worker)


def test_fewer_workers_than_hosts_are_said_before(service: Any) -> None:
    body = {"devices": 2, "hosts": 2, "attack": None, "batch_size": 4}

    def said() -> str:
        answer = post(service, body, dry_run="true")
        assert answer.status_code == 200, answer.text
        return " ".join(answer.json()["remarks"])

    def there(name: str) -> None:
        with service.database.write() as session:
            workers.beat(session, name, device="cpu", job_id=None)

    names = ("elsewhere:1:a", "elsewhere:2:b")
    try:
        there(names[0])
        assert "2 hosts are as many workers, and 1 gives a sign of life" in said()
        assert post(service, body).status_code == 202, "others may come"
        there(names[1])
        assert "as many workers" not in said()
    finally:
        with service.database.write() as session:
            for name in names:
                workers.leave(session, name)


def test_numbers_that_no_database_keeps(service: Any) -> None:
    for body in (
        '{"start": {"architecture": "resnet3d", "arguments": {"depth": 1e999}}}',
        '{"start": {"geometry": {"frames": 8, "stride": 1, "short_side": 56, "height": 56, "width": 56, '
        '"mean": [1e999, 0, 0]}}}',
    ):
        answer = service.client.post(
            "/v1/trainings", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422, answer.text


def test_a_name_that_is_taken(service: Any) -> None:
    for query in ({}, {"dry_run": "true"}):
        answer = post(service, {"name": MODEL}, **query)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert MODEL in answer.json()["detail"]


def test_the_same_key_gives_the_same_training(service: Any) -> None:
    headers = {"Idempotency-Key": f"training-{uuid.uuid4().hex}"}
    first = service.client.post("/v1/trainings", json={"seed": 4}, headers=headers)
    again = service.client.post("/v1/trainings", json={"seed": 4}, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = service.client.post("/v1/trainings", json={"seed": 5}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_every_architecture_has_its_name(service: Any) -> None:
    from models.architectures import ARCHITECTURES

    assert tuple(ARCHITECTURES) == ARCHITECTURE_NAMES
    for name in ARCHITECTURE_NAMES:
        assert post(service, {"start": {"architecture": name}}, dry_run="true").status_code == 200


def test_the_curve_is_read_while_the_training_runs(service: Any) -> None:
    job = post(service, {}).json()
    nothing = service.client.get(job["links"]["curve"]).json()
    assert nothing["items"] == []
    assert nothing["next_cursor"], "it has not ended"
    claim = service.claim(job["id"])
    points = [CurvePoint("step", step, step / 100, loss=1.0, accuracy=0.5) for step in (10, 20, 30)]
    points.insert(2, CurvePoint("look", 20, 0.2, clean_accuracy=0.8, robust_accuracy=0.4, best=True))
    for point in points:
        with service.database.write() as session:
            training_points.add(session, claim, point)
    page = service.client.get(job["links"]["curve"], params={"limit": 3}).json()
    assert [(item["series"], item["step"]) for item in page["items"]] == [
        ("step", 10),
        ("step", 20),
        ("look", 20),
    ]
    assert page["items"][2]["robust_accuracy"] == 0.4
    page = service.client.get(job["links"]["curve"], params={"cursor": page["next_cursor"]}).json()
    assert [item["step"] for item in page["items"]] == [30]
    assert page["next_cursor"], "more may come"
    whole = service.client.get(job["links"]["curve"], params={"cursor": nothing["next_cursor"]}).json()
    assert len(whole["items"]) == 4
    looks = service.client.get(job["links"]["curve"], params={"series": "look"}).json()
    assert [item["step"] for item in looks["items"]] == [20]
    assert service.client.get(job["links"]["curve"], params={"cursor": "x"}).status_code == 422
    assert service.client.get(job["links"]["curve"], params={"series": "x"}).status_code == 422
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    with service.database.write() as session:
        jobs.confirm_cancel(session, claim)
    assert service.client.get(job["links"]["curve"]).json()["next_cursor"] is None, "it has, and all is read"
    attack = service.job()
    answer = service.client.get(f"/v1/trainings/{attack['id']}/curve")
    assert answer.status_code == 404
    assert "is no training" in answer.json()["detail"]


def events(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(
            line.split(": ", 1) for line in block.splitlines() if not line.startswith((":", "retry"))
        )
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_events_tell_the_curve_in_order_and_resume(service: Any) -> None:
    job_id = post(service, {}).json()["id"]
    claim = service.claim(job_id)
    # More than one look at the row takes.
    for step in range(1200):
        with service.database.write() as session:
            training_points.add(session, claim, CurvePoint("step", step, step / 100, loss=1.0))
    with service.database.write() as session:
        jobs.succeed(session, claim, {"model": "m"})
    story = events(service.client.get(f"/v1/jobs/{job_id}/events").text)
    names = [event for _, event, _ in story]
    assert names == ["state", "state", *["curve"] * 1200, "state"]
    versions = [version for version, _, _ in story]
    assert versions == sorted(set(versions))
    assert [data["step"] for _, event, data in story if event == "curve"] == list(range(1200))
    last = {"Last-Event-ID": str(versions[700])}
    assert events(service.client.get(f"/v1/jobs/{job_id}/events", headers=last).text) == story[701:]


def test_the_last_checkpoint_of_a_cancelled_training_is_handed_out(service: Any) -> None:
    job_id = post(service, {}).json()["id"]
    claim = service.claim(job_id)
    service.client.post(f"/v1/jobs/{job_id}/cancel")
    blob = blobs.write(service.database, [b"weights"])
    for role in ("checkpoint", "curve"):
        with service.database.write() as session:
            artifacts.add(
                session, claim, blob, role=role, filename=f"m.{role}", media_type="application/octet-stream"
            )
    assert service.client.get(f"/v1/jobs/{job_id}/artifacts").json()["items"] == [], "it still runs"
    with service.database.write() as session:
        jobs.confirm_cancel(session, claim)
    (made,) = service.client.get(f"/v1/jobs/{job_id}").json()["artifacts"]
    assert made["role"] == "checkpoint", "of a cancelled job nothing else is whole"
    assert service.client.get(made["links"]["content"]).content == b"weights"
    listed = service.client.get("/v1/jobs", params={"kind": "training", "state": "cancelled"}).json()["items"]
    assert made in next(job for job in listed if job["id"] == job_id)["artifacts"]


@pytest.mark.parametrize("words", [["--to"], ["--wait", "--to"]], ids=str)
def test_whoever_names_a_folder_waits_for_what_comes_into_it(
    service: Any, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"fetched-{uuid.uuid4().hex[:8]}"
    ended: list[int] = []
    command = ["train", "--name", name, *words, str(tmp_path / "files")]
    whole = ["--server", str(service.client.base_url), *command]
    following = threading.Thread(target=lambda: ended.append(cli.main(whole)))
    following.start()
    deadline = time.monotonic() + 30
    while not (mine := [job for job in waiting(service) if job["spec"]["name"] == name]):
        assert time.monotonic() < deadline, "nothing was posted"
        time.sleep(0.05)
    claim = service.claim(mine[0]["id"])
    with service.database.write() as session:
        training_points.add(session, claim, CurvePoint("step", 1, 0.1, loss=0.5, accuracy=0.25))
    blob = blobs.write(service.database, [b"weights"])
    with service.database.write() as session:
        artifacts.add(
            session,
            claim,
            blob,
            role="model",
            filename=f"{name}.safetensors",
            media_type="application/octet-stream",
        )
    assert following.is_alive(), "it follows"
    with service.database.write() as session:
        jobs.succeed(session, claim, RESULT | {"model": name})
    following.join(30)
    assert ended == [0]
    assert (tmp_path / "files" / f"{name}.safetensors").read_bytes() == b"weights"
    assert "91.0% clean, 62.0% under attack" in capsys.readouterr().out


def waiting(service: Any) -> list[Any]:
    query = {"kind": "training", "state": "queued", "limit": 200}
    found: list[Any] = service.client.get("/v1/jobs", params=query).json()["items"]
    return found
