"""Trainings on two hosts as jobs: whom the leader calls, what it hears of them, and whom it lets go first."""

import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from multav.datasets.catalogue import parse_dataset
from multav.errors import BadDataset, Interrupted, OutOfMemory, WorkerLost
from multav.training import told_error
from multav.training.request import TrainingRequest
from store import datasets, jobs, workers
from store.database import Database, now
from store.jobs import Job
from store.settings import Settings
from store.tables import JobTable
from tests.multav.datasets import trees
from tests.worker.conftest import Process
from tests.worker.test_many_hosts import HERE, order_of
from tests.worker.test_training import SPEC, begin, create, finish
from worker import called_hosts, training_order
from worker.called_hosts import HOSTS_MISSING, CalledHosts
from worker.many_devices import HostsMissing
from worker.meeting import Host, Meeting
from worker.runners import training_host
from worker.running_job import PutOff, RunningJob

pytestmark = pytest.mark.xdist_group("many_devices")

TWO_HOSTS: dict[str, Any] = {"devices": 2, "hosts": 2, "batch_size": 8, "audit": False}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Hosts reach each other at the address of this machine alone."""
    return settings.model_copy(update={"host_address": HERE})


def signs_of_life(database: Database, *names: str, job_id: str | None = "some job") -> None:
    with database.write() as session:
        for name in names:
            workers.beat(session, name, device="cpu", job_id=job_id)


def called_by(process: Process, job_id: str) -> tuple[CalledHosts, RunningJob]:
    running = begin(process, job_id)
    return CalledHosts(running, process.queue, 1), running


def parts_of(database: Database, job_id: str) -> list[Job]:
    with database.read() as session:
        return jobs.parts(session, job_id)


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def aged(database: Database, *job_ids: str) -> None:
    """All of them were created a minute ago, in this order."""
    with database.write() as session:
        for place, job_id in enumerate(job_ids):
            session.execute(
                update(JobTable)
                .where((JobTable.id == job_id) | (JobTable.parent_id == job_id))
                .values(created_at=now() - 60 + place)
            )


def test_of_two_that_lack_each_others_worker_the_younger_lets_go(process: Process) -> None:
    database = process.database
    older, younger = create(database, name="older", **TWO_HOSTS), create(database, **TWO_HOSTS)
    first, _ = called_by(process, older)
    second, running = called_by(process, younger)
    signs_of_life(database, "w1", "w2")
    first.meet()
    second.meet()
    second.look(gathering=True)
    aged(database, older, younger)
    first._looked = second._looked = 0.0
    first.look(gathering=True)
    second.look(gathering=False)
    second._looked = 0.0
    with pytest.raises(PutOff) as put_off:
        second.look(gathering=True)
    assert put_off.value.cause == HOSTS_MISSING
    second.let_go()
    with database.write() as session:
        jobs.put_off(session, running.claim, put_off.value.cause)
    # The other worker is free for the older one.
    with database.write() as session:
        taken = jobs.claim_part(session, "w2", 60)
        assert taken is not None
        assert jobs.get(session, taken.job_id).parent_id == older
        assert jobs.get(session, younger).state == "queued"


def test_nobody_lets_go_where_a_worker_is_idle(process: Process) -> None:
    database = process.database
    older, younger = create(database, name="older", **TWO_HOSTS), create(database, **TWO_HOSTS)
    first, _ = called_by(process, older)
    second, _ = called_by(process, younger)
    signs_of_life(database, "w1", "w2")
    signs_of_life(database, "w3", job_id=None)
    first.meet()
    second.meet()
    aged(database, older, younger)
    second.look(gathering=True)


def test_an_attack_goes_first_while_hosts_gather(process: Process) -> None:
    database = process.database
    hosts, _ = called_by(process, create(database, **TWO_HOSTS))
    signs_of_life(database, "w1", "w2")
    hosts.meet()
    with database.write() as session:
        attack = jobs.create(session, kind="attack", spec={}).id
    aged(database, attack)
    hosts.look(gathering=True)
    hosts._looked, hosts._called_at = 0.0, time.monotonic() - 60
    with pytest.raises(Interrupted):
        hosts.look(gathering=True)


def test_too_few_workers_are_an_error_and_busy_ones_are_not(process: Process) -> None:
    database = process.database
    hosts, _ = called_by(process, create(database, **TWO_HOSTS))
    missing = HostsMissing("nobody came")
    signs_of_life(database, "w1")
    with pytest.raises(WorkerLost, match="for 2 hosts, and not as many workers came in time: 1 gives a sign"):
        hosts.raise_missing(missing)
    signs_of_life(database, "w2")
    with pytest.raises(PutOff):
        hosts.raise_missing(missing)


@pytest.mark.parametrize("alive", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_nobody_comes(alive: int, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job waits for another try where the workers are only busy, and fails where there are none."""
    monkeypatch.setattr(called_hosts, "GATHERING_SECONDS", 3.0)
    database = process.database
    job_id = create(database, **TWO_HOSTS)
    signs = threading.Event()

    def live() -> None:
        while not signs.wait(1.0):
            signs_of_life(database, *(f"w{number}" for number in range(alive)))

    living = threading.Thread(target=live)
    living.start()
    try:
        job = finish(process, job_id)
    finally:
        signs.set()
        living.join()
    with database.read() as session:
        causes = [event.cause for event in jobs.events_after(session, job_id, 0)]
    if alive == 2:
        assert (job.state, job.attempt, causes[-1]) == ("queued", 0, HOSTS_MISSING)
    else:
        assert job.problem is not None
        assert (job.state, job.problem["code"]) == ("failed", "worker_lost")
        assert "not as many workers came in time: 1 gives a sign of life" in job.problem["detail"]
    assert [part.state for part in parts_of(database, job_id)] == ["succeeded"], "it is let go"


def test_what_keeps_another_host_away_is_the_trainings_problem(process: Process, tmp_path: Path) -> None:
    """And at once: nobody waits for a host whose folder of videos is not there."""
    database, root = process.database, tmp_path / "files"
    for label in ("run", "swim"):
        for number in range(6):
            trees.write_video(root / label / f"{number}.avi", trees.noise(5, seed=number))
    dataset = parse_dataset({"kind": "class-folder"})
    with database.write() as session:
        datasets.add(
            session, "files", dataset, dataset.listing(root), root=str(root), blob=None, origin="folder"
        )
    job_id = create(database, dataset="files", validation={"clips": 2, "share": 0.2}, **TWO_HOSTS)
    leader = threading.Thread(target=finish, args=(process, job_id))
    leader.start()
    try:
        wait_for(lambda: bool(parts_of(database, job_id)))
        shutil.rmtree(root)
        asked = time.monotonic()
        (part,) = parts_of(database, job_id)
        other = finish(process, part.id)
    finally:
        leader.join(60)
    took = time.monotonic() - asked
    assert other.problem is not None
    with database.read() as session:
        job = jobs.get(session, job_id)
    assert job.problem is not None
    assert (job.state, job.problem["code"]) == ("failed", BadDataset.code)
    assert job.problem == other.problem
    assert job.problem["detail"].startswith(f"on host {HERE}: ")
    assert took < 15


def helper(process: Process) -> RunningJob:
    """A worker that has taken a part beside a training."""
    leader, _ = called_by(process, create(process.database, **TWO_HOSTS))
    leader.meet()
    with process.database.write() as session:
        claim = jobs.claim_part(session, "helper", 60)
        assert claim is not None
        job = jobs.get(session, claim.job_id)
    return RunningJob(job, claim, process.database, process.settings, threading.Event())


def ordered(tmp_path: Path) -> tuple[Path, Any]:
    folder, order = tmp_path / "other", order_of({}, leads=False)
    folder.mkdir()
    order.write(folder)
    return folder, order


def test_the_error_of_a_rank_is_the_parts(process: Process, tmp_path: Path) -> None:
    folder, order = ordered(tmp_path)
    words = OutOfMemory("a piece of 4 clips does not fit")
    training_order.put(folder / "error-1.json", told_error.to_json(words))
    with pytest.raises(OutOfMemory, match="a piece of 4 clips"):
        training_host.take_part(helper(process), folder, order, Host(Meeting.at(HERE, 2), HERE, False, 60.0))


def test_who_does_not_reach_the_leader_says_so(process: Process, tmp_path: Path) -> None:
    folder, order = ordered(tmp_path)
    with socket.socket() as silent:
        # A port that is taken, and where nobody answers.
        silent.bind((HERE, 0))
        meeting = Meeting("run", 2, HERE, silent.getsockname()[1])
        with pytest.raises(WorkerLost, match=f"not reached at {HERE}:{meeting.port}: .* MULTAV_HOST_ADDRESS"):
            training_host.take_part(helper(process), folder, order, Host(meeting, HERE, False, 2.0))


@pytest.mark.slow
def test_two_workers_train_together(process: Process) -> None:
    database = process.database
    job_id = create(database, **TWO_HOSTS)
    leader = threading.Thread(target=finish, args=(process, job_id))
    leader.start()
    try:
        wait_for(lambda: bool(parts_of(database, job_id)))
        (part,) = parts_of(database, job_id)
        other = finish(process, part.id)
    finally:
        leader.join(120)
    with database.read() as session:
        job = jobs.get(session, job_id)
    assert job.state == "succeeded", job.problem
    assert TrainingRequest.parse(job.spec).hosts == 2
    assert (job.done, job.total) == (SPEC["steps"], SPEC["steps"])
    assert other.result in ({"joined": True}, None), "it has joined, or was let go before it could say so"
