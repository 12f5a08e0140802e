"""Trainings that are posted at the same moment and want the same name, on both databases: one of them gets it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from multav.datasets.catalogue import parse_dataset
from multav.errors import Conflict
from service.context import Context
from service.once import Accepted
from service.resume_door import accept_resume
from service.training_door import accept_training
from store import datasets, jobs
from store.database import Database
from store.queue import Queue
from store.settings import Settings
from store.work_folders import WorkFolders

AT_ONCE = 6
BODY: dict[str, Any] = {
    "name": "wanted",
    "start": {"architecture": "resnet3d", "arguments": {"depth": 10, "widen_factor": 0.125}},
    "dataset": "few",
}


@pytest.fixture
def context(database: Database, tmp_path: Path) -> Context:
    """A service on the database, in this process."""
    dataset = parse_dataset({"kind": "synthetic", "clips": 40})
    with database.write() as session:
        datasets.add(session, "few", dataset, dataset.listing(), root=None, blob=None, origin="made")
    settings = Settings(data_dir=tmp_path / "data", database_url=database.url)
    room = threading.BoundedSemaphore
    return Context(settings, database, Queue(settings), WorkFolders(tmp_path / "uploads"), room(), room())


def at_once(ask: Callable[[int], Any]) -> list[Any]:
    """What each of some threads got that all began together: an answer, or a refusal."""
    begin = threading.Barrier(AT_ONCE)

    def one(number: int) -> Any:
        begin.wait()
        try:
            return ask(number)
        except Conflict as refusal:
            return refusal

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def test_one_of_many_gets_the_name(context: Context) -> None:
    got = at_once(lambda number: accept_training(context, BODY, f"key {number}"))
    assert sum(isinstance(each, Accepted) for each in got) == 1
    refusals = [each for each in got if isinstance(each, Conflict)]
    assert len(refusals) == AT_ONCE - 1
    assert all("another training is making a model 'wanted'" in refusal.detail for refusal in refusals)
    with context.database.read() as session:
        assert jobs.count(session, "queued") == 1


def test_one_of_many_that_are_resumed_gets_the_name(context: Context) -> None:
    ended = []
    for _ in range(AT_ONCE):
        job_id = accept_training(context, BODY, None).subject
        with context.database.write() as session:
            jobs.request_cancel(session, job_id)
        ended.append(job_id)
    got = at_once(lambda number: accept_resume(context, ended[number], 10))
    assert sum(isinstance(each, Conflict) for each in got) == AT_ONCE - 1
    with context.database.read() as session:
        assert jobs.count(session, "queued") == 1


def test_the_same_request_at_once_is_one_training(context: Context) -> None:
    got = at_once(lambda _: accept_training(context, BODY, "the same key"))
    assert all(isinstance(each, Accepted) for each in got)
    assert len({each.subject for each in got}) == 1
    assert sorted(each.replayed for each in got) == [False] + [True] * (AT_ONCE - 1)
