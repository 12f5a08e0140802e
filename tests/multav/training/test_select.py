"""Which of the weights are kept: the best by their looks, or the last; and when patience ends."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from multav.training.curve import CurvePoint
from multav.training.train import Trained
from tests.multav.training.small_trainings import ATTACK, Small, asked, trained, videos


class Scripted(nn.Module):
    """After descent number i it reads the colours rightly, or each as another one, as `right[i]` says."""

    descents: Tensor

    def __init__(self, right: list[bool]) -> None:
        super().__init__()
        self.right = right
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("descents", torch.zeros((), dtype=torch.int64))

    def forward(self, clips: Tensor) -> Tensor:
        """Logits that read the colour, or the one before it."""
        if self.training:
            self.descents += 1
        means = clips.mean(dim=(2, 3, 4))
        knows = self.right[min(int(self.descents), len(self.right)) - 1] if self.descents else False
        return 40 * (means if knows else means.roll(1, 1)) + self.weight


STEP = {"batch_size": 8, "attack": None}


def course(right: list[bool], folder: Path, **fields: Any) -> tuple[Trained, list[CurvePoint]]:
    """One step and one look an epoch."""
    points: list[CurvePoint] = []
    request = asked(**STEP | {"steps": len(right)} | fields)
    done = trained(Scripted(right), request, folder, on_point=points.append)
    return done, [point for point in points if point.series == "look"]


def test_the_best_look_is_kept_and_of_equals_the_first(tmp_path: Path) -> None:
    done, looks = course([False, True, True, False], tmp_path)
    assert [point.clean_accuracy for point in looks] == pytest.approx([0, 1, 1, 0], abs=0.3)
    assert [point.best for point in looks] == [True, True, False, False]
    assert (done.look, int(done.model.descents)) == (looks[1], 2)  # type: ignore[arg-type]
    assert (done.steps, done.stopped_early) == (4, False)


def test_the_last_look_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    done, looks = course([False, True, False, True, False], tmp_path, select="last")
    # The best so far is marked all the same.
    assert [point.best for point in looks] == [True, True, False, False, False]
    assert (done.look, int(done.model.descents)) == (looks[-1], 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("select", ["best", "last"])
@pytest.mark.parametrize(
    ("right", "patience", "steps"),
    [
        ([True, False, False, False, True], 2, 3),
        ([True, False, False, False, True], 4, 5),
        ([False, False, True, False, False, False], 2, 5),
        ([False, False, True, False, False, False], 3, 6),
        # Better than the one before is not better than the best.
        ([True, False, True, False, True, False, True], 3, 4),
    ],
)
def test_patience_counts_looks_without_a_new_best(
    right: list[bool], patience: int, steps: int, select: str, tmp_path: Path
) -> None:
    done, looks = course(right, tmp_path, patience=patience, select=select)
    assert (done.steps, len(looks)) == (steps, steps)
    assert done.stopped_early is (steps < len(right))
    again = trained(
        Scripted(right),
        asked(**STEP | {"steps": len(right), "patience": patience, "select": select}),
        tmp_path,
        resume_from=tmp_path / "checkpoint",
    )
    assert (again.steps, again.look, again.stopped_early) == (done.steps, done.look, done.stopped_early)


def test_accuracy_under_attack_counts_before_the_clean_one(tmp_path: Path) -> None:
    """A network that forgets to be robust while it learns: its first look is its best."""

    class Hardening(Small):
        """Reads a dim colour robustly after one descent, and a bright one not at all after two."""

        descents: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("descents", torch.zeros((), dtype=torch.int64))

        def forward(self, clips: Tensor) -> Tensor:
            if self.training:
                self.descents += 1
            # A sharp answer is easily moved: of its argmax attacks change what a dull one of mean colours keeps.
            means = clips.mean(dim=(2, 3, 4))
            logits = 40 * means + 0 * self.head.bias
            if int(self.descents) < 2:
                # Right about two thirds, however it is attacked: class 2 is never answered.
                rounded = (means * 8).round() / 8
                return 40 * rounded.detach() + 0 * logits
            return logits

    points: list[CurvePoint] = []
    hard = ATTACK | {"epsilon": 1.6, "step_size": 1.2, "steps": 4}
    done = trained(
        Hardening(),
        asked(batch_size=8, steps=3, attack=None, validation={"attack": hard}),
        tmp_path,
        of=videos(8, 12),
        on_point=points.append,
    )
    looks = [point for point in points if point.series == "look"]
    assert looks[1].clean_accuracy is not None
    assert looks[0].clean_accuracy is not None
    assert looks[1].clean_accuracy > looks[0].clean_accuracy > 0
    assert looks[0].robust_accuracy == looks[0].clean_accuracy
    assert looks[1].robust_accuracy == 0
    assert done.look.step == 1


def test_a_clean_training_has_no_robust_accuracy(tmp_path: Path) -> None:
    _, looks = course([True, True], tmp_path)
    assert all(point.robust_accuracy is None and point.train_robust_accuracy is None for point in looks)
    _, looks = course([True, True], tmp_path, validation={"attack": ATTACK})
    assert all(
        point.robust_accuracy is not None and point.train_robust_accuracy is not None for point in looks
    )


def test_the_average_is_what_is_looked_at_and_kept(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    net = Small()
    request = asked(average=0.15, steps=2, batch_size=8, select="last")
    states = [{name: tensor.clone() for name, tensor in net.state_dict().items()}]

    def on_checkpoint(*_: object) -> None:
        states.append({name: tensor.clone() for name, tensor in net.state_dict().items()})

    request = request.model_copy(update={"checkpoint_minutes": 1e-9})
    done = trained(net, request, tmp_path, on_checkpoint=on_checkpoint, on_point=points.append)
    start, one, two, _ = states
    for name, tensor in done.model.state_dict().items():
        if tensor.is_floating_point():
            # Of the start a tenth at most; the second update could keep two elevenths, which is more than was asked.
            first = 0.1 * start[name].double() + 0.9 * one[name].double()
            expected = 0.15 * first + 0.85 * two[name].double()
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert tensor.equal(two[name])
    assert not done.model.state_dict()["head.weight"].equal(net.state_dict()["head.weight"])
