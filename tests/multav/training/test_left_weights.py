"""What is left of a training that does not come to its end: the weights that the name of the file speaks of."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from multav.errors import BadCheckpoint, Cancelled, Interrupted, TrainingDiverged
from multav.names import NAME
from multav.training import checkpoint
from multav.training.checkpoint import Checkpoint
from multav.training.curve import CurvePoint
from multav.training.left_weights import LeftWeights
from multav.training.request import TrainingRequest
from tests.multav.training.small_trainings import Small, asked, trained


def left_behind(
    folder: Path, steps: int, select: Any, **fields: Any
) -> tuple[LeftWeights, Small, list[CurvePoint]]:
    """What a training of four steps an epoch leaves that is stopped behind so many; its network, and its looks."""
    net, points = Small(), list[CurvePoint]()

    def stop(progress: Any) -> None:
        if progress.done == steps:
            raise Interrupted

    request = asked(**{"steps": 40, "batch_size": 2, "select": select} | fields)
    with pytest.raises(Interrupted):
        trained(net, request, folder, on_progress=stop, on_point=points.append)
    kept = checkpoint.read(folder / "checkpoint")
    return LeftWeights.of(kept, select), net, [point for point in points if point.series == "look"]


def test_the_best_look_before_what_came_after(tmp_path: Path) -> None:
    left, net, looks = left_behind(tmp_path, 7, "best")
    assert [(look.step, look.best) for look in looks] == [(4, True)]
    assert (left.step, left.look) == (4, looks[0])
    assert not left.tensors["head.weight"].equal(net.head.weight)
    at_look, _, _ = left_behind(tmp_path, 4, "last")
    for name, tensor in at_look.tensors.items():
        assert left.tensors[name].equal(tensor), name


@pytest.mark.parametrize(("select", "steps"), [("last", 7), ("best", 3)])
def test_the_weights_of_now_where_they_are_wanted_or_nothing_was_looked_at(
    select: str, steps: int, tmp_path: Path
) -> None:
    left, net, _ = left_behind(tmp_path, steps, select)
    assert (left.step, left.look) == (steps, None)
    for name, tensor in net.state_dict().items():
        assert left.tensors[name].equal(tensor), name
    averaged, _, _ = left_behind(tmp_path, steps, select, average=0.9)
    assert averaged.step == steps
    assert not averaged.tensors["head.weight"].equal(net.head.weight)
    assert averaged.tensors.keys() == left.tensors.keys()


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    left_behind(tmp_path, 3, "best")
    found = checkpoint.read(tmp_path / "checkpoint")
    for torn in (replace(found, tensors={}), replace(found, rest={}), Checkpoint({"a": torch.ones(1)}, {})):
        with pytest.raises(BadCheckpoint):
            LeftWeights.of(torn, "best")


def wild(**fields: Any) -> TrainingRequest:
    """Diverges after some steps that are well, each of which is kept."""
    plain = {
        "steps": 400,
        "checkpoint_minutes": 1e-9,
        "optimiser": {"kind": "adamw", "learning_rate": 100.0},
        "schedule": {"kind": "cosine", "warm_up": 0.9},
        "validation": {"every_epochs": 999},
    }
    return asked(**plain | fields)


def test_no_checkpoint_is_written_while_losses_are_wild(tmp_path: Path) -> None:
    """What is left of a training that diverges is what it was before."""
    steps: list[int] = []
    with pytest.raises(TrainingDiverged, match=r"at step (\d+)") as diverged:
        trained(Small(), wild(), tmp_path, on_checkpoint=lambda _, step: steps.append(step))
    at = int(str(diverged.value).partition("at step ")[2].split()[0])
    assert 0 < steps[-1] <= at - 3
    assert checkpoint.read(tmp_path / "checkpoint").rest["trainer"]["step"] == steps[-1]


@pytest.mark.parametrize("stop", [Interrupted, Cancelled])
def test_a_stop_while_losses_are_wild_keeps_the_checkpoint_before(
    stop: type[Exception], tmp_path: Path
) -> None:
    kept: list[int] = []
    with pytest.raises(TrainingDiverged):
        trained(Small(), wild(), tmp_path, on_checkpoint=lambda _, step: kept.append(step))
    first = next(step for step in range(1, 400) if step not in kept)
    steps: list[int] = []

    def stop_at_the_first(progress: Any) -> None:
        if progress.done == first:
            raise stop

    def stopped(name: str, *, resume_from: Path | None = None, **fields: Any) -> Path:
        (tmp_path / name).mkdir()
        steps.clear()
        with pytest.raises(stop):
            trained(
                Small(),
                wild(**fields),
                tmp_path / name,
                on_progress=stop_at_the_first,
                on_checkpoint=lambda _, step: steps.append(step),
                resume_from=resume_from,
            )
        return tmp_path / name / "checkpoint"

    before = stopped("an attempt")
    assert steps == list(range(1, first)) != []
    assert checkpoint.read(before).rest["trainer"]["step"] == first - 1
    # An attempt that has written none itself goes on from one.
    stopped("another", resume_from=before)
    assert steps == []
    # One that is wild is better than none.
    stopped("without", checkpoint_minutes=60.0)
    assert steps == [first]


def test_they_are_not_called_what_the_model_would_have_been() -> None:
    left = LeftWeights({}, 120, None)
    assert left.name("hardened") == "hardened-step-120"
    longest = left.name("a" * 100)
    assert re.fullmatch(NAME, longest)
    assert longest.endswith("a-step-120")
