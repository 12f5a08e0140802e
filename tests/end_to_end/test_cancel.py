"""Cancelling stops the computation, and quickly."""

import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("end_to_end")


def test_a_running_job_is_cancelled_within_about_a_step(stack: Any, video: Path) -> None:
    job_id = stack.post(video, steps=10_000)
    stack.until_crafting(job_id)
    child = stack.worker_child(job_id)
    asked = time.monotonic()
    assert stack.client.cancel(job_id)["cancel_requested"]
    assert stack.client.cancel(job_id)["cancel_requested"], "asking twice does no harm"
    job = stack.finished(job_id)
    seconds = time.monotonic() - asked
    assert job["state"] == "cancelled"
    assert job["result"] is None
    assert stack.client.artifacts(job_id) == []
    assert seconds < 3, "a step takes a fraction of a second here; the whole job takes many minutes"

    used = sum(child.cpu_times()[:2])
    time.sleep(1)
    assert sum(child.cpu_times()[:2]) - used < 0.3, "the process that ran the job still computes"


def test_a_queued_job_is_cancelled_at_once(stack: Any, video: Path) -> None:
    busy = [stack.post(video, steps=10_000) for _ in range(2)]
    for job_id in busy:
        stack.until_crafting(job_id)
    queued = stack.post(video, steps=1)
    assert stack.client.cancel(queued)["state"] == "cancelled"
    for job_id in busy:
        stack.client.cancel(job_id)
    assert [stack.finished(job_id)["state"] for job_id in busy] == ["cancelled", "cancelled"]
    assert stack.causes(queued) == ["created", "cancelled"], "no worker has touched it"
