"""POST /v1/jobs/{id}/resume: what could not come to a good end any more is answered at once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from store import blobs, jobs, models, training_checkpoints
from store.settings import Settings

MODEL = "camera-motion-r3d18"


def register(service: Any, name: str, content: bytes = b"weights") -> str:
    """A model of the shipped one's card under another name; its SHA-256."""
    blob = blobs.write(service.database, [content])
    with service.database.write() as session:
        card = models.get(session, MODEL).card.model_copy(update={"name": name})
        return models.add_trained(session, card, blob).sha256


def posted(service: Any, route: str, body: Any) -> str:
    answer = service.client.post(f"/v1/{route}", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def ended(service: Any, job_id: str, how: str) -> None:
    if how == "cancelled":
        service.client.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
        return
    claim = service.claim(job_id)
    with service.database.write() as session:
        jobs.fail(session, claim, {"code": "internal_error", "detail": "broken"})


def delete(service: Any, address: str) -> None:
    answer = service.client.delete(address)
    assert answer.status_code == 204, answer.text


def resumed(service: Any, job_id: str) -> Any:
    return service.client.post(f"/v1/jobs/{job_id}/resume")


def refused(service: Any, job_id: str, words: str) -> None:
    before = service.client.get(f"/v1/jobs/{job_id}").json()
    answer = resumed(service, job_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
    assert words in answer.json()["detail"]
    assert service.client.get(f"/v1/jobs/{job_id}").json() == before, "the job is as it was"


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_name_that_was_taken_meanwhile(service: Any, how: str) -> None:
    name = f"wanted-{how}"
    job_id = posted(service, "trainings", {"name": name})
    ended(service, job_id, how)
    register(service, name)
    refused(service, job_id, f"another model is registered as {name!r}")
    delete(service, f"/v1/models/{name}")
    other = posted(service, "trainings", {"name": name})
    refused(service, job_id, f"another training is making a model {name!r}")
    ended(service, other, "cancelled")
    assert resumed(service, job_id).json()["state"] == "queued"


def test_a_name_that_was_taken_while_the_training_rests(service: Any) -> None:
    job_id = posted(service, "trainings", {"name": "rests"})
    service.client.post(f"/v1/jobs/{job_id}/pause").raise_for_status()
    register(service, "rests")
    refused(service, job_id, "cancel this training, delete that one")
    ended(service, job_id, "cancelled")
    delete(service, "/v1/models/rests")
    assert resumed(service, job_id).json()["paused"] is False


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_start_model_that_was_deleted_meanwhile(service: Any, how: str) -> None:
    start = f"start-{how}"
    sha256 = register(service, start)
    job_id = posted(service, "trainings", {"start": {"model": start}})
    assert service.client.delete(f"/v1/models/{start}").status_code == 409, "a training waits that needs it"
    ended(service, job_id, how)
    delete(service, f"/v1/models/{start}")
    refused(service, job_id, f"model {start!r}, which the job needs (/start/model), was deleted")
    register(service, start, b"other weights")
    refused(service, job_id, sha256)
    delete(service, f"/v1/models/{start}")
    assert register(service, start) == sha256
    assert resumed(service, job_id).json()["state"] == "queued"
    assert service.client.delete(f"/v1/models/{start}").status_code == 409


def test_datasets_that_were_deleted_meanwhile(service: Any) -> None:
    for name, seed in (("to-train-on", 2), ("to-look-at", 3)):
        body = {"name": name, "kind": "synthetic", "clips": 40, "seed": seed}
        service.client.post("/v1/datasets", json=body).raise_for_status()
    body = {"dataset": "to-train-on", "validation": {"dataset": "to-look-at"}}
    training, audit = posted(service, "trainings", body), posted(service, "audits", {"dataset": "to-look-at"})
    ended(service, training, "failed")
    ended(service, audit, "cancelled")
    delete(service, "/v1/datasets/to-look-at")
    refused(service, training, "dataset 'to-look-at', which the job needs (/validation/dataset), was deleted")
    refused(service, audit, "dataset 'to-look-at', which the job needs (/dataset), was deleted")


def test_audits_and_attacks_need_their_models(service: Any) -> None:
    register(service, "looked-at")
    audit = posted(service, "audits", {"models": [MODEL, "looked-at"]})
    attack = service.post('{"model": "looked-at"}').json()["id"]
    for job_id in (audit, attack):
        ended(service, job_id, "failed")
    delete(service, "/v1/models/looked-at")
    refused(service, audit, "(/models/1)")
    refused(service, attack, "(/model)")
    other = service.job()["id"]
    ended(service, other, "failed")
    assert resumed(service, other).json()["state"] == "queued"


def test_a_training_that_is_done_needs_its_own_model_alone(service: Any) -> None:
    """It broke down after its model was registered, and before its files were handed out."""
    register(service, "former")
    job_id = posted(service, "trainings", {"name": "made", "start": {"model": "former"}})
    claim = service.claim(job_id)
    sha256 = register(service, "made")
    with service.database.write() as session:
        result = {"model": "made", "model_sha256": sha256}
        training_checkpoints.finish(session, claim, step=1, result=result)
        jobs.fail(session, claim, {"code": "internal_error", "detail": "broken"})
    delete(service, "/v1/models/former")
    assert resumed(service, job_id).json()["state"] == "queued"
    ended(service, job_id, "cancelled")
    delete(service, "/v1/models/made")
    refused(service, job_id, "'made' that it made was deleted")
    register(service, "made", b"other weights")
    refused(service, job_id, "'made' that it made was replaced")


def test_a_full_queue_refuses_to_run_a_job_again(
    tmp_path: Path, serve: Callable[[Settings], AbstractContextManager[Any]]
) -> None:
    with serve(Settings(data_dir=tmp_path, max_queued_jobs=2)) as small:
        first, second = (small.job()["id"] for _ in range(2))
        ended(small, first, "cancelled")
        small.job()
        answer = resumed(small, first)
        assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
        assert int(answer.headers["retry-after"]) > 0
        assert small.client.get(f"/v1/jobs/{first}").json()["state"] == "cancelled"
        # One that rests has its place in the queue already.
        small.client.post(f"/v1/jobs/{second}/pause").raise_for_status()
        assert resumed(small, second).status_code == 202
        ended(small, second, "cancelled")
        assert resumed(small, first).json()["state"] == "queued"
