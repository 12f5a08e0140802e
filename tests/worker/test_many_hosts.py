"""A training on two hosts, of which both are this machine: like on one, through the loss of the other host."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from multav.errors import Interrupted, WorkerLost
from multav.training import checkpoint
from multav.training.curve import CurvePoint
from multav.training.request import TrainingRequest
from multav.training.train import Trained
from multav.video.limits import Limits
from tests.worker.test_many_devices import (
    FOR_EVER,
    OFTEN,
    SMALL,
    Watched,
    agents_of,
    ranks_of,
    same,
    some_videos,
    start_of,
)
from worker import training_order
from worker.agent_process import Agent, end_agent, start_agent
from worker.many_devices import ManyDevices
from worker.meeting import Host, Meeting
from worker.training_order import TrainingOrder

pytestmark = pytest.mark.xdist_group("many_devices")

HERE = "127.0.0.1"


class OtherHost:
    """What another worker does: its ranks lie in a folder of their own, which at first holds the order alone."""

    def __init__(self, folder: Path, fields: dict[str, Any]) -> None:
        self.folder = folder
        self._order = order_of(fields, leads=False)
        self._agents: list[Agent] = []
        folder.mkdir()
        self._order.write(folder)

    def join(self, meeting: Meeting) -> None:
        """Start its ranks."""
        host = Host(meeting, HERE, leads=False, patience=60.0)
        self._agents.append(start_agent(self.folder, self._order, 3, host))

    @property
    def agent(self) -> Agent:
        return self._agents[-1]

    def end(self) -> None:
        for agent in self._agents:
            end_agent(agent)


def order_of(fields: dict[str, Any], *, leads: bool) -> TrainingOrder:
    request = TrainingRequest.parse(SMALL | {"hosts": 2} | fields)
    return TrainingOrder(request, some_videos(), Limits(), None, 1, cuda=False, threads=1, leads=leads)


@contextmanager
def other_host(folder: Path, fields: dict[str, Any]) -> Iterator[OtherHost]:
    other = OtherHost(folder, fields)
    try:
        yield other
    finally:
        other.end()


class Met(Watched):
    """Also where its hosts met."""

    def __init__(self) -> None:
        super().__init__()
        self.meetings: list[Meeting] = []


def led(
    folder: Path, fields: dict[str, Any], watched: Watched, other: OtherHost | None, **more: Any
) -> Trained:
    """Train on this host and the other one."""
    folder.mkdir()
    order = order_of(fields, leads=True)
    on_point = more.pop("on_point", lambda _: None)

    def meet() -> Host:
        meeting = Meeting.at(HERE, 2)
        watched.meetings.append(meeting)
        if other is not None:
            other.join(meeting)
        return Host(meeting, HERE, leads=True, patience=more.get("patience", 60.0))

    def note(point: CurvePoint) -> None:
        watched.points.append(point)
        on_point(point)

    return ManyDevices(
        folder=folder,
        order=order,
        on_checkpoint=lambda _, step: watched.checkpoints.append(step),
        on_point=note,
        on_progress=watched.progress.append,
        check=more.get("check", lambda: None),
        patience=30.0,
        meet=meet,
    ).train(start_of(order.request))


def test_two_hosts_are_two_devices(unbroken: tuple[Trained, Watched], tmp_path: Path) -> None:
    """The same weights as two devices of one host, bit by bit."""
    (by_one_host, one), watched = unbroken, Met()
    with other_host(tmp_path / "other", {}) as other:
        trained = led(tmp_path / "leader", {}, watched, other)
        assert other.agent.wait(30) == 0
    assert same(trained.model.state_dict(), by_one_host.model.state_dict())
    assert watched.losses() == one.losses()
    assert not (other.folder / training_order.RESULT).exists(), "the leader's worker speaks for all"


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["rank", "host"])
def test_what_is_lost_of_the_other_host_comes_again(
    lost: str, unbroken: tuple[Trained, Watched], tmp_path: Path
) -> None:
    fields, watched, gone = OFTEN, Met(), threading.Event()
    with other_host(tmp_path / "other", fields) as other:

        def lose(point: CurvePoint) -> None:
            if point.series != "step" or point.step < 4 or gone.is_set():
                return
            gone.set()
            if lost == "rank":
                ranks_of(other.agent.pid)[0].kill()
                return
            end_agent(other.agent)
            # Another worker takes its place, at the same meeting.
            other.join(watched.meetings[-1])

        trained = led(tmp_path / "leader", fields, watched, other, on_point=lose)
    assert gone.is_set()
    assert len(watched.meetings) == 1
    assert same(trained.model.state_dict(), unbroken[0].model.state_dict())
    steps = [point.step for point in watched.points if point.series == "step"]
    assert steps.count(1) == 1, "from the last checkpoint, not from the beginning"


@pytest.mark.slow
def test_a_leader_whose_agent_dies_calls_a_new_meeting(tmp_path: Path) -> None:
    watched, killed = Met(), threading.Event()
    with other_host(tmp_path / "other", OFTEN) as other:

        def kill(point: CurvePoint) -> None:
            if point.series == "step" and point.step >= 4 and not killed.is_set():
                killed.set()
                [own] = [agent for agent in agents_of(os.getpid()) if agent.pid != other.agent.pid]
                own.kill()

        trained = led(tmp_path / "leader", OFTEN, watched, other, on_point=kill)
    assert trained.steps == 10
    assert len(watched.meetings) == 2


@pytest.mark.slow
def test_a_host_that_must_stop_stops_all_and_a_checkpoint_is_kept(tmp_path: Path) -> None:
    watched = Met()
    with other_host(tmp_path / "other", FOR_EVER) as other:

        def leave(point: CurvePoint) -> None:
            if point.series == "step" and point.step >= 3:
                (other.folder / training_order.STOP).write_text("interrupted")

        with pytest.raises(Interrupted):
            led(tmp_path / "leader", FOR_EVER, watched, other, on_point=leave)
        # Well or not: the leader's agent, at which they met, may be gone before it.
        other.agent.wait(30)
    kept = checkpoint.read(tmp_path / "leader" / training_order.CHECKPOINT)
    assert watched.checkpoints == [kept.rest["trainer"]["step"]]


@pytest.mark.slow
def test_nobody_comes(tmp_path: Path) -> None:
    with pytest.raises(WorkerLost, match="for 2 hosts, and not as many workers came in time"):
        led(tmp_path / "leader", {}, Met(), None, patience=3.0)
