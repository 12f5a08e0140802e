"""POST /v1/audits at the door: what is accepted, what it costs, and what does not fit together."""

import re
from pathlib import Path
from typing import Any

import pytest

from multav import cli
from multav.audits.outcome import Outcome
from multav.audits.request import AuditRequest
from multav.errors import InvalidSpec
from store import jobs, outcomes
from store.jobs import Part
from store.queue import Queue

MODEL = "camera-motion-r3d18"


def post(service: Any, body: Any, **query: str) -> Any:
    return service.client.post("/v1/audits", json=body, params=query)


def test_an_audit_is_accepted_with_every_default_spelled_out(service: Any) -> None:
    answer = post(service, {})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["paused"], job["priority"]) == ("audit", "queued", False, "normal")
    spec = job["spec"]
    assert spec["models"] == [MODEL]
    assert len(spec["model_sha256"][MODEL]) == 64
    assert spec["dataset"] == "camera-motion"
    assert len(spec["dataset_sha256"]) == 64
    assert spec["attacks"][0]["kind"] == "multav-linf"
    assert spec["attacks"][0]["early_stop"]
    assert spec["checks"]["clips"] == 32
    again = post(service, spec)
    assert again.status_code == 202, "what was resolved can be posted again"
    assert again.json()["spec"] == spec


def test_a_grid_becomes_attacks_whose_steps_keep_their_share(service: Any) -> None:
    body = {"attacks": [{"kind": "pgd-linf"}], "epsilons": [0.01, 0.02], "priority": "high"}
    job = post(service, body).json()
    attacks = job["spec"]["attacks"]
    assert [attack["epsilon"] for attack in attacks] == [0.01, 0.02]
    assert [attack["step_size"] for attack in attacks] == pytest.approx([0.0025, 0.005])
    assert job["spec"]["epsilons"] == {}
    assert job["priority"] == "high"


def test_a_given_step_size_stays(service: Any) -> None:
    body = {"attacks": [{"kind": "pgd-linf", "step_size": 0.003}], "epsilons": {"pgd-linf": [0.01, 0.02]}}
    attacks = post(service, body).json()["spec"]["attacks"]
    assert [attack["step_size"] for attack in attacks] == [0.003, 0.003]


def test_what_it_would_cost(service: Any) -> None:
    body = {
        "subset": {"count": 50},
        "attacks": [{"kind": "multav-linf"}, {"kind": "roa", "steps": 7}],
        "checks": None,
    }
    answer = post(service, body, dry_run="true")
    assert answer.status_code == 200
    cost = answer.json()
    assert (cost["clips"], cost["models"], cost["attacks"]) == (50, 1, 2)
    assert cost["gradients"] == 50 * (5 + 7)
    assert cost["predictions"] == 50 * (1 + 1 + 1), "of the clean clip, and of what attacks end with"
    assert cost["outcomes"] == 150
    assert cost["seconds"] is None
    assert any("never measured" in remark for remark in cost["remarks"])
    assert cost["by_model"][0]["memory_bytes"] > 1e6
    checked = post(service, {**body, "checks": {"clips": 10, "queries": 500}}, dry_run="true").json()
    assert checked["predictions"] > 10 * 500, "the black-box attack's queries alone are so many"
    assert not any("cannot lead farther" in remark for remark in cost["remarks"])
    short = {"kind": "pgd-linf", "steps": 2, "epsilon": 0.1, "step_size": 0.01}
    remarks = post(service, {**body, "attacks": [short]}, dry_run="true").json()["remarks"]
    assert any(
        remark.startswith("pgd-linf: 2 steps of 0.01 cannot lead farther than 0.02") for remark in remarks
    )
    searched = {**body["attacks"][1], "placement": "exhaustive", "size": [46, 46], "stride": 5}
    placed = post(service, {**body, "attacks": [searched]}, dry_run="true").json()
    assert placed["predictions"] == 50 * (1 + 3 * 3 + 1), "of the places that a rectangle can take"
    listed = service.client.get("/v1/jobs", params={"kind": "audit"}).json()["items"]
    assert all(job["spec"]["subset"]["count"] != 50 for job in listed), "a dry run leaves nothing behind"


def test_the_command_says_what_it_would_cost(
    service: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--server",
        str(service.client.base_url),
        "audit",
        "--count",
        "5",
        "--to",
        str(tmp_path / "report"),
    ]
    assert cli.main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"gradients at most +[0-9,]+, and [0-9,]+ predictions\n", said)
    assert re.search(r"memory of a worker +about [1-9][0-9]* MB\n", said)
    assert list(tmp_path.iterdir()) == [], "nothing was made, so there is nothing to put anywhere"


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"models": ["nobody"]}, "/models/0", "there is no model 'nobody'"),
        ({"models": [MODEL, MODEL]}, "/models", "twice"),
        ({"model_sha256": {MODEL: "0" * 64}}, f"/model_sha256/{MODEL}", "has the SHA-256"),
        ({"model_sha256": {"other": "0" * 64}}, "/model_sha256", "no model of this audit"),
        ({"dataset": "ucf101"}, "/dataset", "there is no dataset 'ucf101'"),
        ({"dataset_sha256": "0" * 64}, "/dataset_sha256", "has the SHA-256"),
        ({"epsilons": {"multav-linf": [1.0]}}, "/epsilons/multav-linf/0", "above 1"),
        ({"epsilons": [0.5]}, "/epsilons/0", "above 1"),
        ({"epsilons": [1.02, "x"]}, "/epsilons/1", "valid number"),
        ({"epsilons": {"pgd-linf": [0.1]}}, "/epsilons/pgd-linf", "no attack of this audit"),
        ({"epsilons": {"multav-linf": []}}, "/epsilons/multav-linf", "at least 1"),
        ({"epsilons": {"multav-linf": [1.02, 1.02]}}, "/epsilons/multav-linf", "twice"),
        ({"attacks": []}, "/attacks", "at least 1"),
        ({"attacks": [{"kind": "fgsm"}]}, "/attacks/0", "there is no kind 'fgsm'"),
        ({"attacks": [{"kind": "multav-linf"}, {"kind": "multav-linf"}]}, "/attacks", "twice"),
        ({"attacks": [{"kind": "pgd-linf", "targeted": True}]}, "/attacks/0/targeted", "leave targeted out"),
        ({"attacks": [{"kind": "multav-af", "width": 40}]}, "/attacks/0/width", MODEL),
        ({"subset": {"count": 0}}, "/subset/count", "greater than or equal to 1"),
        ({"subset": {"count": 10**6}}, "/subset/count", "are there"),
        ({"subset": {"count": 5, "per_class": 2}}, "/subset", "give one of them"),
        ({"subset": {"classes": ["pan left", "pan left"]}}, "/subset/classes", "named twice"),
        ({"subset": {"classes": ["jumping"]}}, "/subset/classes", "has no class 'jumping'"),
        ({"subset": {"videos": ["1", "1"]}}, "/subset", "named twice"),
        ({"subset": {"videos": ["1"], "count": 1}}, "/subset", "leave count, per_class and classes out"),
        ({"subset": {"videos": []}}, "/subset/videos", "at least 1"),
        ({"subset": {"videos": [str(n) for n in range(9000)]}}, "/subset/videos", "are there"),
        ({"transfer": True}, "/transfer", "only one model"),
        ({"robust_at": 0}, "/robust_at", "greater than 0"),
        ({"attack": {"kind": "roa"}}, "/attack", "is it attacks?"),
        ([], "", "must be a JSON object"),
    ],
)
def test_what_cannot_be_audited(service: Any, body: Any, pointer: str, words: str) -> None:
    answer = post(service, body)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["code"] == "invalid_spec"
    said = problem.get("errors") or [{"pointer": "", "detail": problem["detail"]}]
    assert any(each["pointer"] == pointer and words in each["detail"] for each in said), said


def test_too_many_bounds_are_refused_before_any_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: Any) -> None:
        raise AssertionError("an attack was made")

    monkeypatch.setattr("multav.audits.request.on_grid", made)
    attacks = [{"kind": "multav-linf", "steps": steps} for steps in range(1, 6)]
    with pytest.raises(InvalidSpec, match="320 attacks and bounds"):
        AuditRequest.parse({"attacks": attacks, "epsilons": [1 + n / 1000 for n in range(1, 65)]})


def test_a_body_that_is_no_json(service: Any) -> None:
    answer = service.client.post("/v1/audits", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    answer = service.client.post("/v1/audits", content=b"a=1", headers={"content-type": "text/plain"})
    assert answer.status_code == 400


def test_the_same_key_gives_the_same_audit(service: Any) -> None:
    headers = {"Idempotency-Key": "audit-1"}
    first = service.client.post("/v1/audits", json={"seed": 4}, headers=headers)
    again = service.client.post("/v1/audits", json={"seed": 4}, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    other = service.client.post("/v1/audits", json={"seed": 5}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_models_and_datasets_in_use_stay(service: Any) -> None:
    service.client.post("/v1/datasets", json={"name": "few", "kind": "synthetic", "clips": 20})
    job = post(service, {"dataset": "few"}).json()
    refused = service.client.delete("/v1/datasets/few")
    assert refused.status_code == 409
    assert "used by 1 job" in refused.json()["detail"]
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert service.client.delete("/v1/datasets/few").status_code == 204


def test_outcomes_are_read_while_the_audit_runs(service: Any) -> None:
    job = post(service, {"subset": {"count": 4}}).json()
    with service.database.write() as session:
        claim = jobs.claim(session, job["id"], "planner", 60)
        assert claim is not None
        pieces = [Part("audit-clips", {})]
        videos = [outcomes.AuditClip(3 - clip, clip, f"{clip}.avi", 0, f"g{clip // 2}") for clip in range(4)]
        outcomes.plan_clips(session, job["id"], videos)
        jobs.split(session, claim, pieces, total=8, unit="outcomes", max_attempts=1)
        part = jobs.claim_part(session, "w", 60)
        assert part is not None
        for clip in range(3):
            row = Outcome(
                MODEL, "clean" if clip else "multav-linf@1.04", clip, 0, MODEL, predicted=0, seconds=1.0
            )
            outcomes.add(session, part, [row])
    links = service.client.get(f"/v1/jobs/{job['id']}").json()["links"]
    page = service.client.get(links["outcomes"], params={"limit": 2}).json()
    assert [item["clip"] for item in page["items"]] == [0, 1]
    assert [(item["video"], item["group"]) for item in page["items"]] == [("0.avi", "g0"), ("1.avi", "g0")]
    page = service.client.get(links["outcomes"], params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [item["clip"] for item in page["items"]] == [2]
    assert page["next_cursor"], "more may come"
    clean = service.client.get(links["outcomes"], params={"cell": "clean"}).json()
    assert [item["clip"] for item in clean["items"]] == [1, 2]
    assert service.client.get(links["outcomes"], params={"cursor": "x"}).status_code == 422
    progress = service.client.get(f"/v1/jobs/{job['id']}").json()["progress"]
    assert (progress["done"], progress["total"], progress["unit"]) == (3, 8, "outcomes")
    # Its parts are nobody's business.
    assert service.client.get(f"/v1/jobs/{part.job_id}").status_code == 404
    assert service.client.post(f"/v1/jobs/{part.job_id}/cancel").status_code == 404


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/v1/jobs/%00", 404),
        ("/v1/audits/%00/outcomes", 404),
        ("/v1/artifacts/a%00/content", 404),
        ("/v1/videos/%00", 404),
        ("/v1/jobs?cursor=%00", 400),
        ("/v1/audits/x/outcomes?cell=%00", 400),
    ],
)
def test_names_hold_no_nul(service: Any, address: str, status: int) -> None:
    answer = service.client.get(address)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_only_audits_have_outcomes(service: Any) -> None:
    attack = service.job()
    answer = service.client.get(f"/v1/audits/{attack['id']}/outcomes")
    assert answer.status_code == 404
    assert "is no audit" in answer.json()["detail"]


def test_a_job_rests_and_goes_on(service: Any) -> None:
    job = post(service, {}).json()
    paused = service.client.post(f"/v1/jobs/{job['id']}/pause")
    assert (paused.status_code, paused.json()["paused"], paused.json()["state"]) == (202, True, "queued")
    with service.database.write() as session:
        assert jobs.claim(session, job["id"], "w", 60) is None
    resumed = service.client.post(f"/v1/jobs/{job['id']}/resume").json()
    assert (resumed["paused"], resumed["state"]) == (False, "queued")
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert service.client.post(f"/v1/jobs/{job['id']}/pause").status_code == 409
    assert service.client.post(f"/v1/jobs/{job['id']}/resume").json()["state"] == "queued"
    assert service.client.post("/v1/jobs/nobody/pause").status_code == 404


def test_a_request_sends_few_messages_and_the_sweeper_the_others(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def nudge(self: Queue, job_id: str, kind: str) -> bool:
        del self, kind
        sent.append(job_id)
        return True

    monkeypatch.setattr(Queue, "nudge", nudge)
    job_id = post(service, {}).json()["id"]
    with service.database.write() as session:
        held = jobs.claim(session, job_id, "w", 60)
        parts = [Part("audit-clips", {"number": number}) for number in range(130)]
        jobs.split(session, held, parts, total=130, unit="results", max_attempts=2)
    with service.database.read() as session:
        ids = [part.id for part in jobs.parts(session, job_id)]
    service.client.post(f"/v1/jobs/{job_id}/pause")
    sent.clear()
    assert service.client.post(f"/v1/jobs/{job_id}/resume").status_code == 202
    assert sent == ids[:100]
    with service.database.write() as session:
        assert set(ids) <= set(jobs.sweep(session, nudge_seconds=60, limit=1000).to_nudge)


def test_a_job_that_has_succeeded_is_not_resumed(service: Any) -> None:
    job = service.job()
    service.finish(job["id"])
    answer = service.client.post(f"/v1/jobs/{job['id']}/resume")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
