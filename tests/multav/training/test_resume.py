"""A training that was killed and goes on ends with the weights, the look and the curve of one that never was."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multav.errors import BadCheckpoint, Cancelled, Interrupted
from multav.training.curve import CurvePoint
from multav.training.train import Trained
from tests.multav.training.small_trainings import ATTACK, Small, asked, trained

WORST = [
    ATTACK | {"random_start": True},
    {"kind": "pgd-linf", "epsilon": 0.05, "step_size": 0.03, "steps": 2},
]
REQUESTS: dict[str, dict[str, Any]] = {
    "momentum, average, ramp": {"average": 0.8, "ramp": 0.5, "gradient_norm": 0.5, "clean_fraction": 0.25},
    "adamw, cosine, augmentation": {
        "optimiser": {"kind": "adamw", "learning_rate": 0.01},
        "schedule": {"kind": "cosine", "warm_up": 0.3},
        "augmentation": {"flip": 0.5, "shift": 2, "brightness": 0.2},
        "accumulation": 2,
    },
    "mixture random": {"attack": {"kind": "mixture", "attacks": WORST}, "select": "last"},
    "mixture worst": {"attack": {"kind": "mixture", "attacks": WORST, "choice": "worst"}, "steps": 4},
    "trades, patience": {
        "method": "trades",
        "patience": 1,
        "optimiser": {"kind": "sgd", "learning_rate": 1e-9},
    },
    "fast": {"method": "fast", "schedule": {"kind": "multistep", "milestones": [1, 2], "gamma": 0.5}},
    "free": {
        "method": "free",
        "replays": 3,
        "batch_size": 3,
        "validation": {"every_epochs": 2},
        "augmentation": {"flip": 0.5, "shift": 2},
        "steps": 7,
        "average": 0.5,
        "attack": ATTACK | {"steps": 1},
    },
    "clean": {"attack": None, "batch_size": 3},
}


@dataclass
class Heard:
    """What a training said on its way."""

    points: list[CurvePoint] = field(default_factory=list)
    checkpoints: list[tuple[Path, int]] = field(default_factory=list)
    """Each, and how many points had been said before it."""

    def curve(self) -> dict[tuple[str, int], CurvePoint]:
        """Points by series and step; waiting is a matter of the clock. One that came again is the same as before."""
        found: dict[tuple[str, int], CurvePoint] = {}
        for point in self.points:
            timeless = replace(point, waiting=None)
            assert found.setdefault((point.series, point.step), timeless) == timeless
        return found


def run(
    name: str,
    folder: Path,
    heard: Heard,
    *,
    check: Callable[[], None] = lambda: None,
    resume_from: Path | None = None,
    keep: bool = False,
) -> tuple[Trained, dict[str, Tensor]]:
    """One course of a training, from a fresh network; and the state of the network that was trained."""

    def on_checkpoint(path: Path, step: int) -> None:
        if keep:
            kept = folder / f"kept-{len(heard.checkpoints)}-{step}"
            heard.checkpoints.append((kept, len(heard.points)))
            shutil.copy(path, kept)

    net = Small(dropout=0.2, seed=0 if resume_from is None else 99)
    # So short that there is a checkpoint after every batch.
    request = asked(**{"checkpoint_minutes": 1e-9} | REQUESTS[name])
    torch.manual_seed(0 if resume_from is None else 5)
    done = trained(
        net,
        request,
        folder,
        check=check,
        resume_from=resume_from,
        on_point=heard.points.append,
        on_checkpoint=on_checkpoint,
    )
    return done, net.state_dict()


def assert_same_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].equal(tensor), name


def assert_same(
    found: tuple[Trained, dict[str, Tensor]], expected: tuple[Trained, dict[str, Tensor]]
) -> None:
    assert_same_tensors(found[1], expected[1])
    assert_same_tensors(found[0].model.state_dict(), expected[0].model.state_dict())
    for name in ("steps", "look", "pieces", "stopped_early", "remarks", "bad_videos"):
        assert getattr(found[0], name) == getattr(expected[0], name), name


@pytest.mark.parametrize("name", REQUESTS)
def test_killed_behind_any_checkpoint(name: str, tmp_path: Path) -> None:
    whole = Heard()
    expected = run(name, tmp_path, whole, keep=True)
    curve = whole.curve()
    assert len(curve) == len(whole.points)
    steps = [int(path.name.rpartition("-")[2]) for path, _ in whole.checkpoints]
    looks = {step for series, step in curve if series == "look"}
    # There is one right before a look, one that is not, and one of the finished training.
    assert looks & set(steps)
    assert set(steps) - looks
    assert steps[-1] == expected[0].steps
    for path, said in whole.checkpoints:
        rest = Heard()
        assert_same(run(name, tmp_path, rest, resume_from=path), expected)
        assert rest.curve() == Heard(whole.points[said:]).curve()


def breaks(at: int) -> Iterator[None]:
    """Interrupts at the call number `at`."""
    for _ in range(at):
        yield
    raise Interrupted


@pytest.mark.parametrize("name", ["momentum, average, ramp", "free", "mixture random"])
def test_interrupted_wherever_the_training_listens(name: str, tmp_path: Path) -> None:
    """While clips are waited for, between the steps of an attack, within a look: the checkpoint is a whole one."""
    whole = Heard()
    expected = run(name, tmp_path, whole)
    broken = 0
    # Free training listens seldom.
    for at in range(0, 1000, 2 if name == "free" else 7):
        heard, calls = Heard(), breaks(at)
        try:
            run(name, tmp_path, heard, check=lambda calls=calls: next(calls))  # type: ignore[misc]
        except Interrupted:
            broken += 1
        else:
            break
        found = run(name, tmp_path, heard, resume_from=tmp_path / "checkpoint")
        assert_same(found, expected)
        assert heard.curve() == whole.curve()
    assert broken >= 3


def test_broken_off_again_and_again(tmp_path: Path) -> None:
    name = "adamw, cosine, augmentation"
    expected = run(name, tmp_path, Heard())
    rounds, at = None, 2
    for _ in range(40):
        calls = breaks(at)
        try:
            found = run(
                name,
                tmp_path,
                Heard(),
                check=lambda calls=calls: next(calls),  # type: ignore[misc]
                resume_from=rounds,
            )
            break
        except Interrupted:
            # A little further each time, so that it ends.
            rounds, at = tmp_path / "checkpoint", at + 1
    else:
        pytest.fail("it never ended")
    assert_same(found, expected)


def test_a_cancelled_training_leaves_a_checkpoint(tmp_path: Path) -> None:
    steps: list[int] = []

    def check() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        trained(Small(), asked(), tmp_path, check=check, on_checkpoint=lambda _, step: steps.append(step))
    assert steps == [0]
    expected = trained(Small(), asked(), tmp_path / "..").model.state_dict()
    found = trained(Small(seed=4), asked(), tmp_path, resume_from=tmp_path / "checkpoint")
    assert_same_tensors(found.model.state_dict(), expected)


def test_training_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(17)
    before = torch.get_rng_state()
    request = asked(attack={"kind": "multav-spa", "pixels": 5, "steps": 1}, method="fast")
    trained(Small(dropout=0.5), request, tmp_path)
    assert torch.get_rng_state().equal(before)


def test_checkpoints_are_as_far_apart_as_asked(tmp_path: Path) -> None:
    steps: list[int] = []
    trained(
        Small(), asked(checkpoint_minutes=60.0), tmp_path, on_checkpoint=lambda _, step: steps.append(step)
    )
    assert steps == [5]


@pytest.mark.parametrize(
    ("minutes", "kept", "before_looks"),
    [(7, [2, 4, 5, 5], [2, 4, 5]), (2, [4, 5], [0, 4, 4]), (61, [1, 2, 3, 4, 5, 5], [2, 4, 5])],
)
def test_a_look_that_dies_costs_a_little_of_what_was_done_before_it(
    minutes: int, kept: list[int], before_looks: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks are behind steps 2, 4 and 5; with an hour between checkpoints six minutes are a little."""
    clock = SimpleNamespace(seconds=0.0, monotonic=lambda: clock.seconds)
    monkeypatch.setattr("multav.training.train.time", clock)

    class Slow(Small):
        def forward(self, clips: Tensor) -> Tensor:
            clock.seconds += 60 * minutes if self.training else 1e-3
            return super().forward(clips)

    steps: list[int] = []
    last: list[int] = []

    def on_point(point: CurvePoint) -> None:
        if point.series == "look":
            last.append(steps[-1] if steps else 0)

    request = asked(checkpoint_minutes=60.0)
    trained(Slow(), request, tmp_path, on_checkpoint=lambda _, step: steps.append(step), on_point=on_point)
    assert steps == kept
    assert last == before_looks


def test_another_trainings_checkpoint_is_refused(tmp_path: Path) -> None:
    trained(Small(), asked(steps=1), tmp_path)

    class Other(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Flatten(), nn.Linear(3 * 4 * 12 * 12, 3))

    for net, request in ((Other(), asked()), (Small(), asked(average=0.5))):
        with pytest.raises(BadCheckpoint, match="another"):
            trained(net, request, tmp_path, resume_from=tmp_path / "checkpoint")
