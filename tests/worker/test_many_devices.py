"""A training on two processor cores, as a worker starts it: like on one, through kills, stops and errors."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from models.beginnings import beginning
from models.pixel_classifier import PixelClassifier
from multav.datasets.listing import ListedVideo
from multav.datasets.synthetic import CameraMotionClip
from multav.errors import BadDataset, Cancelled, InvalidSpec, WorkerLost
from multav.progress import Progress
from multav.training import checkpoint
from multav.training.curve import CurvePoint
from multav.training.request import TrainingRequest
from multav.training.train import Trained, train
from multav.training.videos import TrainingVideos
from multav.video.limits import Limits
from worker.many_devices import ManyDevices, refuse_beyond_machine
from worker.training_order import MAX_RESTARTS, Notes, TrainingOrder

pytestmark = pytest.mark.xdist_group("many_devices")

SMALL: dict[str, Any] = {
    "start": {
        "architecture": "resnet3d",
        "arguments": {"depth": 10, "widen_factor": 0.125},
        "geometry": {"frames": 8, "stride": 1, "short_side": 16, "height": 16, "width": 16},
    },
    "precision": "float32",
    "attack": {"kind": "multav-linf", "steps": 2, "random_start": True},
    "batch_size": 8,
    "steps": 10,
    # Rounding grows in a network this small: weights that are off by 1e-7 come as far from each other in one process.
    "optimiser": {"kind": "sgd", "learning_rate": 1e-3},
    "schedule": {"kind": "constant"},
    "devices": 2,
    "validation": {"every_epochs": 1000},
}
# Many, but few enough that every step is a point of the curve.
FOR_EVER = SMALL | {"steps": 499}
OFTEN = {"checkpoint_minutes": 1e-6}
TOLERANCE = 1e-4


def some_videos() -> TrainingVideos:
    """Made clips: 40 to learn from and 6 others."""
    made = [
        CameraMotionClip(index, str(index), index % 10, str(index), seed=1, frames=8, size=16)
        for index in range(46)
    ]
    return TrainingVideos(tuple("abcdefghij"), tuple(made[:40]), tuple(made[40:]), "as it is")


def start_of(request: TrainingRequest) -> PixelClassifier:
    return beginning(request.start, some_videos().classes, request.seed)


@dataclass
class Watched:
    """What a training said while it ran."""

    points: list[CurvePoint] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)

    def losses(self) -> dict[int, float]:
        """Of each step, as it was said last."""
        return {point.step: point.loss or 0.0 for point in self.points if point.series == "step"}


def ranks_of(parent: int) -> list[psutil.Process]:
    """Ranks below the process `parent`, in their order."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if "worker.training_rank" in process.cmdline():
                found.append((int(process.environ()["RANK"]), process))
        except (psutil.Error, KeyError):
            continue
    return [process for _, process in sorted(found, key=lambda each: each[0])]


def on_two(
    folder: Path,
    fields: dict[str, Any],
    watched: Watched,
    *,
    check: Callable[[], None] = lambda: None,
    on_point: Callable[[CurvePoint], None] = lambda _: None,
    of: TrainingVideos | None = None,
    restarts: int = MAX_RESTARTS,
) -> Trained:
    """Train on two processes."""
    request = TrainingRequest.parse(SMALL | fields)
    folder.mkdir(exist_ok=True)

    def note(point: CurvePoint) -> None:
        watched.points.append(point)
        on_point(point)

    return ManyDevices(
        folder=folder,
        order=TrainingOrder(request, of or some_videos(), Limits(), None, decoders=1, cuda=False, threads=1),
        on_checkpoint=lambda _, step: watched.checkpoints.append(step),
        on_point=note,
        on_progress=watched.progress.append,
        check=check,
        patience=30.0,
        restarts=restarts,
    ).train(start_of(request))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(tensor.equal(other[name]) for name, tensor in one.items())


def test_the_curve_of_one_process(unbroken: tuple[Trained, Watched], tmp_path: Path) -> None:
    trained, watched = unbroken
    request = TrainingRequest.parse(SMALL)
    alone = Watched()
    model = start_of(request)
    by_one = train(
        model,
        request,
        some_videos(),
        model.geometry,
        limits=Limits(),
        checkpoint_at=tmp_path / "checkpoint",
        on_point=alone.points.append,
    )
    assert watched.losses() == pytest.approx(alone.losses(), abs=TOLERANCE)
    assert len(watched.losses()) == 10
    looks, looks_alone = ([p for p in each.points if p.series == "look"] for each in (watched, alone))
    assert [(p.step, p.clean_accuracy, p.robust_accuracy) for p in looks] == [
        (p.step, p.clean_accuracy, p.robust_accuracy) for p in looks_alone
    ]
    assert (trained.steps, trained.look.step) == (by_one.steps, by_one.look.step) == (10, by_one.look.step)
    for (name, tensor), other in zip(
        trained.model.state_dict().items(), by_one.model.state_dict().values(), strict=True
    ):
        assert tensor.double().sub(other.double()).abs().max() < TOLERANCE, name
    assert watched.progress[-1].done == watched.progress[-1].total == 10
    assert watched.checkpoints == [10]


def test_a_killed_rank_costs_no_step(unbroken: tuple[Trained, Watched], tmp_path: Path) -> None:
    """The weights are those of the unbroken training, bit by bit; not from the beginning."""
    watched, killed, seen = Watched(), [], set()

    def kill(point: CurvePoint) -> None:
        if point.series == "step" and point.step >= 4 and not killed:
            killed.extend(ranks_of(os.getpid()))
            killed[1].kill()

    def look() -> None:
        if killed:
            seen.update(process.pid for process in ranks_of(os.getpid()))

    trained = on_two(tmp_path / "killed", OFTEN, watched, on_point=kill, check=look)
    # More than once where the ranks did not find each other at first.
    assert len(seen - {process.pid for process in killed}) >= 2, "both were started again"
    assert same(trained.model.state_dict(), unbroken[0].model.state_dict())
    assert watched.losses() == unbroken[1].losses()
    steps = [point.step for point in watched.points if point.series == "step"]
    assert steps.count(1) == 1, "from the last checkpoint, not from the beginning"


def agents_of(parent: int) -> list[psutil.Process]:
    """Processes below `parent` that start ranks."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if "worker.training_agent" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_a_killed_agent_is_one_death(unbroken: tuple[Trained, Watched], tmp_path: Path) -> None:
    """All ranks die with it; another one goes on from the last checkpoint, to the same weights."""
    watched, killed = Watched(), []

    def kill(point: CurvePoint) -> None:
        if point.series == "step" and point.step >= 4 and not killed:
            killed.extend([*agents_of(os.getpid()), *ranks_of(os.getpid())])
            killed[0].kill()

    trained = on_two(tmp_path / "killed", OFTEN, watched, on_point=kill, restarts=1)
    assert len(killed) == 3
    assert not any(process.is_running() for process in killed)
    assert same(trained.model.state_dict(), unbroken[0].model.state_dict())
    steps = [point.step for point in watched.points if point.series == "step"]
    assert steps.count(1) == 1, "from the last checkpoint, not from the beginning"


@pytest.mark.slow
def test_an_agent_that_is_killed_too_often_is_told_by_its_end(tmp_path: Path) -> None:
    """Deaths of ranks count beside its own."""
    watched, killed = Watched(), []

    def kill(point: CurvePoint) -> None:
        if point.series != "step" or point.step < 2 + 2 * len(killed) or len(killed) == 2:
            return
        (process, *_) = ranks_of(os.getpid()) if not killed else agents_of(os.getpid())
        killed.append(process)
        process.kill()

    with pytest.raises(
        WorkerLost, match=r"watches over them was killed by SIGKILL, .* 2 died by now, where 1 are"
    ):
        on_two(tmp_path / "killed", FOR_EVER | OFTEN, watched, on_point=kill, restarts=1)
    assert len(killed) == 2


def test_a_stop_ends_all_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    watched, asked_at, found = Watched(), [0.0], []

    def check() -> None:
        if any(point.series == "step" and point.step >= 3 for point in watched.points):
            found.extend(ranks_of(os.getpid()))
            asked_at[0] = time.monotonic()
            raise Cancelled

    folder = tmp_path / "stopped"
    with pytest.raises(Cancelled):
        on_two(folder, FOR_EVER, watched, check=check)
    took = time.monotonic() - asked_at[0]
    assert took < 10
    assert len(found) == 2
    assert not any(process.is_running() for process in found)
    kept = checkpoint.read(folder / "checkpoint.safetensors")
    assert watched.checkpoints == [kept.rest["trainer"]["step"]]
    assert watched.checkpoints[0] >= 3


@pytest.mark.slow
def test_the_error_of_a_rank_is_the_trainings(tmp_path: Path) -> None:
    """Most videos are bad, which shows only while it trains: it says so in the words of one process."""
    missing = tuple(
        ListedVideo(index, f"gone-{index}.avi", index % 10, str(index), tmp_path / "gone.avi")
        for index in range(40)
    )
    videos = some_videos()
    of = TrainingVideos(videos.classes, (*videos.train[:3], *missing), videos.validation, videos.chosen_on)
    with pytest.raises(BadDataset, match=r"of 43 training videos give no clip, such as gone-\d+\.avi"):
        on_two(tmp_path / "bad", {}, Watched(), of=of)


@pytest.mark.slow
def test_ranks_that_die_too_often(tmp_path: Path) -> None:
    order = tmp_path / "dying" / "order.json"

    def spoil() -> None:
        # Nothing that a rank has words for.
        if order.exists():
            order.write_text("{")

    with pytest.raises(WorkerLost, match="died too often"):
        on_two(tmp_path / "dying", {}, Watched(), check=spoil, restarts=0)


@pytest.mark.slow
def test_ranks_die_with_their_worker(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from tests.worker.test_many_devices import FOR_EVER, Watched, on_two; "
        f"on_two(Path({str(tmp_path / 'orphans')!r}), FOR_EVER, Watched())"
    )
    worker = subprocess.Popen([sys.executable, "-c", program])
    try:
        notes, deadline = tmp_path / "orphans" / "notes.jsonl", time.monotonic() + 60
        while not (notes.exists() and "point" in notes.read_text()):
            assert time.monotonic() < deadline
            assert worker.poll() is None
            time.sleep(0.1)
        below = psutil.Process(worker.pid).children(recursive=True)
        assert len(ranks_of(worker.pid)) == 2
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive


def test_more_devices_than_there_are() -> None:
    cores = len(os.sched_getaffinity(0))
    refuse_beyond_machine(cores, cuda=False)
    with pytest.raises(InvalidSpec, match=f"has {cores} processor cores") as refused:
        refuse_beyond_machine(cores + 1, cuda=False)
    assert refused.value.errors[0]["pointer"] == "/devices"
    if not torch.cuda.is_available():
        with pytest.raises(InvalidSpec, match="has 0 GPUs"):
            refuse_beyond_machine(2, cuda=True)


def test_a_line_whose_writer_died_is_passed_over(tmp_path: Path) -> None:
    notes, reader = Notes(tmp_path), Notes(tmp_path)
    assert reader.fresh() == []
    notes.write("checkpoint", 1)
    with (tmp_path / "notes.jsonl").open("a") as file:
        file.write('{"point": {"ser')
    assert reader.fresh() == [("checkpoint", 1)]
    notes.begin()
    notes.write("checkpoint", 2)
    assert reader.fresh() == [("checkpoint", 2)]
    assert reader.fresh() == []
