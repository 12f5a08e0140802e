"""Audits through the real stack: posted, watched, killed, paused, resumed, and read."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pyarrow import parquet

from multav.audits.outcome import CLEAN

pytestmark = pytest.mark.xdist_group("end_to_end")

SMALL = {
    "subset": {"count": 16},
    "attacks": [{"kind": "multav-linf", "steps": 3}, {"kind": "pgd-linf", "steps": 3}],
    "epsilons": {"multav-linf": [1.01, 1.03]},
    "batch_size": 4,
    "checks": None,
    "examples": 1,
}
ROWS = 16 * 4


@pytest.fixture
def on_postgresql(own_stack: Any, postgresql: str) -> Iterator[Any]:
    """A running stack of the test's own with two workers, whose database is PostgreSQL."""
    own_stack.settings = {"DATABASE_URL": postgresql, "CONCURRENCY": "2"}
    own_stack.start()
    yield own_stack
    own_stack.close()


def rows(stack: Any, job_id: str) -> list[dict[str, Any]]:
    return list(stack.client.outcomes(job_id))


def until(stack: Any, wait_for: Any, job_id: str, outcomes: int) -> None:
    wait_for(f"{outcomes} outcomes", lambda: len(rows(stack, job_id)) >= outcomes)


def assert_whole(stack: Any, job: dict[str, Any], count: int = ROWS) -> None:
    """Every outcome is there once, the report counts them, and its files say the same."""
    assert job["state"] == "succeeded", job["problem"]
    found = rows(stack, job["id"])
    keys = {(each["model"], each["cell"], each["clip"]) for each in found}
    assert len(found) == len(keys) == count
    assert job["progress"]["done"] == job["progress"]["total"] == count
    result = job["result"]
    assert result["complete"]
    (model,) = result["models"]
    clean = [each for each in found if each["cell"] == CLEAN]
    assert model["clean"]["count"] == sum(each["predicted"] == each["label"] for each in clean)
    for cell in model["cells"]:
        own = [each for each in found if each["cell"] == cell["cell"]]
        assert cell["robust"]["count"] == sum(each["predicted"] == each["label"] for each in own)
        assert cell["robust"]["of"] == len(clean)
        right = {each["clip"] for each in clean if each["predicted"] == each["label"]}
        assert cell["success"]["of"] == len(right)
        assert {each["clip"] for each in own if each["attacked"]} == right


def test_an_audit_over_http(stack: Any, tmp_path: Path) -> None:
    cost = stack.client.estimate_audit(SMALL)
    assert (cost["clips"], cost["models"], cost["attacks"], cost["outcomes"]) == (16, 1, 3, ROWS)
    assert cost["gradients"] == 16 * 3 * 3
    job = stack.client.audit(SMALL, key="an audit")
    assert stack.client.audit(SMALL, key="an audit")["id"] == job["id"]
    assert job["spec"]["models"] == ["camera-motion-r3d18"]
    assert [attack["epsilon"] for attack in job["spec"]["attacks"]][:2] == [1.01, 1.03]
    job = stack.finished(job["id"])
    assert_whole(stack, job)
    files = stack.client.download_all(job["id"], tmp_path)
    assert set(files) == {
        "report",
        "summary",
        "manifest",
        "outcomes-csv",
        "outcomes-parquet",
        "table-markdown",
        "table-latex",
    }
    page = files["report"].read_text()
    assert "not robust" in page
    assert "data:video/mp4" in page
    assert 'src="http' not in page
    assert parquet.read_table(files["outcomes-parquet"]).num_rows == ROWS
    assert len(files["outcomes-csv"].read_text().splitlines()) == ROWS + 1
    # What was posted can be posted again as it was resolved, and gives the same outcomes.
    manifest = json.loads(files["manifest"].read_text())
    again = stack.finished(stack.client.audit(manifest["request"])["id"])
    assert again["result"]["outcomes_sha256"] == manifest["outcomes_sha256"]
    # By now the speed is known.
    assert stack.client.estimate_audit(SMALL)["seconds"] > 0


def test_a_killed_worker_costs_no_outcome(stack: Any, wait_for: Any) -> None:
    job_id = stack.client.audit({**SMALL, "subset": {"count": 32}, "batch_size": 2})["id"]
    until(stack, wait_for, job_id, 10)
    kept = rows(stack, job_id)
    for child in stack.part("celery").children():
        child.kill()
    job = stack.finished(job_id)
    assert_whole(stack, job, 2 * ROWS)
    assert rows(stack, job_id)[: len(kept)] == kept, "what was found before was found again"


def test_an_audit_rests_goes_on_and_is_cancelled(stack: Any, wait_for: Any) -> None:
    job_id = stack.client.audit({**SMALL, "subset": {"count": 200}, "batch_size": 2})["id"]
    until(stack, wait_for, job_id, 4)
    assert stack.client.pause(job_id)["paused"]
    wait_for("its workers to leave it", lambda: all(not busy for busy in busy_workers(stack)))
    resting = len(rows(stack, job_id))
    time.sleep(1.0)
    assert len(rows(stack, job_id)) == resting
    assert stack.client.job(job_id)["state"] == "running"
    assert not stack.client.resume(job_id)["paused"]
    until(stack, wait_for, job_id, resting + 4)
    stack.client.cancel(job_id)
    job = stack.finished(job_id)
    assert job["state"] == "cancelled"
    kept = rows(stack, job_id)
    time.sleep(1.0)
    assert rows(stack, job_id) == kept
    # A cancelled audit can be taken up again, and does only what is missing.
    stack.client.resume(job_id)
    until(stack, wait_for, job_id, len(kept) + 4)
    assert rows(stack, job_id)[: len(kept)] == kept
    stack.client.cancel(job_id)
    assert stack.finished(job_id)["state"] == "cancelled"
    assert httpx.delete(f"{stack.address}/v1/jobs/{job_id}", timeout=10).status_code == 204


def busy_workers(stack: Any) -> list[bool]:
    from store import workers

    database = stack.database()
    with database.read() as session:
        found = [worker.job_id is not None for worker in workers.alive(session, within_seconds=10)]
    database.close()
    return found


def test_an_attack_does_not_wait_for_an_audit(stack: Any, video: Path, wait_for: Any) -> None:
    job_id = stack.client.audit({**SMALL, "subset": {"count": 400}, "batch_size": 2})["id"]
    until(stack, wait_for, job_id, 4)
    attack = stack.finished(stack.post(video, steps=2))
    assert attack["state"] == "succeeded"
    assert stack.client.job(job_id)["state"] == "running", "the audit was over: it proves nothing"
    assert a_part_gave_way(stack, job_id, attack["id"])
    stack.client.cancel(job_id)
    assert stack.finished(job_id)["state"] == "cancelled"


def a_part_gave_way(stack: Any, job_id: str, attack_id: str) -> bool:
    """Whether a part of the audit went back to the queue after the attack came and before it was claimed."""
    from store import jobs

    database = stack.database()
    with database.read() as session:
        came, claimed = (
            next(event.at for event in jobs.events_after(session, attack_id, 0) if event.cause == cause)
            for cause in ("created", "claimed")
        )
        released = [
            event.at
            for part in jobs.parts(session, job_id)
            for event in jobs.events_after(session, part.id, 0)
            if event.cause == "released"
        ]
    database.close()
    return any(came <= at <= claimed for at in released)


@pytest.mark.slow
def test_an_audit_on_postgresql_by_two_workers(on_postgresql: Any, wait_for: Any) -> None:
    stack = on_postgresql
    job_id = stack.client.audit({**SMALL, "subset": {"count": 12}, "batch_size": 2, "minimum_epsilon": True})[
        "id"
    ]
    until(stack, wait_for, job_id, 10)
    psutil.Process(stack.part("celery").children()[0].pid).kill()
    job = stack.finished(job_id)
    assert_whole(stack, job, 12 * 6)
    (model,) = job["result"]["models"]
    found = {each["cell"]: each["distribution"] for each in model["minimum_epsilons"]}
    assert set(found) == {"multav-linf@min", "pgd-linf@min"}
    smallest = [each for each in rows(stack, job_id) if each["cell"] == "multav-linf@min" and each["epsilon"]]
    assert smallest
    assert all(1 < each["epsilon"] <= 1.03 for each in smallest)
