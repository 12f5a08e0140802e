"""Processes die, pause and come back, and every job still runs to its end, once."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from store.queue import Queue
from store.settings import Settings

pytestmark = pytest.mark.xdist_group("end_to_end")


def broker_url(stack: Any) -> str:
    """Where the stack's queue is."""
    folder = stack.folder / "data" / "valkey"
    password, port = (folder / "password").read_text(), (folder / "port").read_text()
    return f"redis://:{password}@127.0.0.1:{port}/0"


def test_a_message_that_arrives_again_and_again_runs_the_job_once(stack: Any, video: Path) -> None:
    queue = Queue(Settings(broker_url=broker_url(stack)))
    job_id = stack.post(video, steps=30)
    for _ in range(6):
        assert queue.nudge(job_id, "attack")
    stack.until_crafting(job_id)
    assert queue.nudge(job_id, "attack")
    job = stack.finished(job_id)
    assert queue.nudge(job_id, "attack")
    queue.close()
    time.sleep(0.5)
    stack.assert_delivered_once(job, attempt=1)
    assert stack.causes(job_id) == ["created", "claimed", "finished"]


def test_a_job_whose_process_is_killed_is_run_again_and_ends_once(stack: Any, video: Path) -> None:
    job_id = stack.post(video, steps=60)
    stack.until_crafting(job_id)
    stack.worker_child(job_id).kill()
    stack.assert_delivered_once(stack.finished(job_id), attempt=2)
    assert stack.causes(job_id) == ["created", "claimed", "worker_lost", "claimed", "finished"]


def test_the_death_of_the_whole_worker_costs_no_job(stack: Any, video: Path) -> None:
    running, queued = stack.post(video, steps=60), stack.post(video)
    stack.until_crafting(running)
    parent = stack.part("celery")
    children = parent.children()
    parent.kill()
    psutil.wait_procs(children, timeout=5)
    assert not any(child.is_running() for child in children), "a child outlived its pool"
    stack.assert_delivered_once(stack.finished(running), attempt=2)
    assert stack.finished(queued)["state"] == "succeeded"


def test_a_broker_that_is_killed_costs_neither_the_running_nor_the_waiting_jobs(
    stack: Any, video: Path
) -> None:
    running = [stack.post(video, steps=40) for _ in range(2)]
    for job_id in running:
        stack.until_crafting(job_id)
    waiting = stack.post(video)
    stack.part("valkey").kill()
    for job_id in running:
        stack.assert_delivered_once(stack.finished(job_id), attempt=1)
    stack.assert_delivered_once(stack.finished(waiting), attempt=1)


def test_a_job_posted_while_the_broker_is_away_runs_when_it_is_back(stack: Any, video: Path) -> None:
    supervisor = psutil.Process(stack.process.pid)
    broker = stack.part("valkey")
    supervisor.suspend()
    try:
        broker.kill()
        started = time.monotonic()
        job_id = stack.post(video)
        assert time.monotonic() - started < 3, "the broker's absence keeps nobody waiting"
        assert httpx.get(f"{stack.address}/readyz", timeout=10).status_code == 503
        time.sleep(1)
        assert stack.client.job(job_id)["state"] == "queued"
    finally:
        supervisor.resume()
    stack.assert_delivered_once(stack.finished(job_id), attempt=1)


def test_what_the_api_accepted_runs_although_the_api_dies(stack: Any, video: Path) -> None:
    api = stack.part("uvicorn")
    job_id = stack.post(video)
    api.kill()
    stack.wait_until_ready()
    stack.assert_delivered_once(stack.finished(job_id), attempt=1)


def test_a_worker_that_slept_past_its_lease_writes_nothing_when_it_wakes(stack: Any, video: Path) -> None:
    job_id = stack.post(video, steps=60)
    stack.until_crafting(job_id)
    sleeper = stack.worker_child(job_id)
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        job = stack.finished(job_id)
        stack.assert_delivered_once(job, attempt=2)
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    time.sleep(2)
    assert stack.client.job(job_id) == job
    assert stack.causes(job_id) == ["created", "claimed", "worker_lost", "claimed", "finished"]
    assert sleeper.is_running(), "it has only lost its job"
    # Both processes still work.
    for each in [stack.post(video), stack.post(video)]:
        assert stack.finished(each)["state"] == "succeeded"
