"""What is left of a training that does not come to its end: the weights that the name of the file speaks of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from multav.errors import BadCheckpoint, Interrupted, TrainingDiverged
from multav.training import checkpoint
from multav.training.checkpoint import Checkpoint
from multav.training.curve import CurvePoint
from multav.training.left_weights import LeftWeights
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


def test_no_checkpoint_is_written_while_losses_are_wild(tmp_path: Path) -> None:
    """What is left of a training that diverges is what it was before."""
    steps: list[int] = []
    request = asked(
        steps=400,
        checkpoint_minutes=1e-9,
        optimiser={"kind": "adamw", "learning_rate": 100.0},
        schedule={"kind": "cosine", "warm_up": 0.9},
        validation={"every_epochs": 999},
    )
    with pytest.raises(TrainingDiverged, match=r"at step (\d+)") as diverged:
        trained(Small(), request, tmp_path, on_checkpoint=lambda _, step: steps.append(step))
    at = int(str(diverged.value).partition("at step ")[2].split()[0])
    assert 0 < steps[-1] <= at - 3
    assert checkpoint.read(tmp_path / "checkpoint").rest["trainer"]["step"] == steps[-1]
