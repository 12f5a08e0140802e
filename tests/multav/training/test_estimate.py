"""What a training is said to cost is what it asks of a network that counts."""

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
from torch import Tensor

from multav.training.estimate import TrainingEstimate, estimate
from multav.training.request import TrainingRequest
from multav.training.trainer import Trainer
from tests.multav.training.small_trainings import ATTACK, GEOMETRY, Small, asked, clips_of, trained, videos

PGD: dict[str, Any] = {"kind": "pgd-linf", "epsilon": 0.05, "step_size": 0.02, "steps": 6}
ROA: dict[str, Any] = {"kind": "roa", "size": 4, "steps": 2, "placement": "gradient", "stride": 2}


class Counting(Small):
    """Counts clips by what it is asked about them; copies of it count together."""

    clips: ClassVar[Counter[str]] = Counter()

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 3)."""
        self.clips["passes" if self.training else "gradients" if clips.requires_grad else "predictions"] += (
            len(clips)
        )
        return super().forward(clips)


@pytest.fixture
def net() -> Counting:
    """One that has counted nothing yet."""
    Counting.clips.clear()
    return Counting()


def cost(request: TrainingRequest, **known: Any) -> TrainingEstimate:
    more = {"train_clips": 8, "validation_clips": 0, "speed": ("cuda", 1.0), "workers": 1} | known
    return estimate(request, geometry=GEOMETRY, parameters=9, **more)


def mixture(choice: str) -> dict[str, Any]:
    return {"kind": "mixture", "attacks": [ATTACK, PGD | {"steps": 3}], "choice": choice}


@pytest.mark.parametrize(
    ("fields", "crafting", "predictions", "passes"),
    [
        ({"attack": None}, 0, 0, 1),
        ({}, 2, 0, 1),
        ({"attack": PGD}, 6, 0, 1),
        ({"attack": PGD | {"random_start": True, "restarts": 2}}, 12, 2, 1),
        ({"attack": PGD, "clean_fraction": 0.25}, 0.75 * 6, 0, 1),
        # One gradient to rank places, and a look at five of them.
        ({"attack": ROA}, 3, 5, 1),
        # What the clean clip is answered with; then both clips are trained on.
        ({"attack": PGD, "method": "trades"}, 6, 1, 2),
        ({"attack": PGD, "method": "trades", "crafting": "loss"}, 6, 0, 2),
        ({"attack": PGD | {"random_start": True, "restarts": 3}, "method": "fast"}, 1, 0, 1),
        ({"attack": PGD, "method": "free", "replays": 3, "steps": 6}, 0, 0, 1),
        # All of them, each with a look at what it ends with.
        ({"attack": mixture("worst")}, 5, 2, 1),
        ({"attack": mixture("worst"), "method": "trades"}, 5, 3, 2),
    ],
    ids=str,
)
def test_what_steps_ask_for(
    net: Counting, fields: dict[str, Any], crafting: float, predictions: int, passes: int
) -> None:
    request = asked(**{"steps": 2, "batch_size": 8} | fields)
    trainer, (clips, labels) = (
        Trainer(net, request, steps=int(request.steps or 0), steps_per_epoch=1),
        clips_of(8),
    )
    while trainer.step < trainer.steps:
        trainer.train_on(clips, labels)
    counted, said = net.clips, cost(request)
    assert said.predictions == counted["predictions"] == 8 * trainer.steps * predictions
    assert counted["gradients"] == 8 * trainer.steps * crafting
    assert counted["passes"] == 8 * trainer.steps * passes
    assert said.gradients == counted["gradients"] + counted["passes"]
    assert said.seconds == pytest.approx(
        counted["gradients"] + 0.6 * counted["predictions"] + 1.5 * counted["passes"]
    )


def test_of_a_mixture_by_lot_each_attack_counts_its_share() -> None:
    assert cost(asked(steps=2, batch_size=8, attack=mixture("random"))).gradients == 8 * 2 * (2.5 + 1)


def test_looks_are_counted(net: Counting, tmp_path: Path) -> None:
    """After steps 2, 4 and 5: four validation clips, and four of those that are trained on."""
    request = asked(attack=None)
    trained(net, request, tmp_path, of=videos(8, 4))
    said = cost(request, validation_clips=4)
    assert said.looks == 3
    assert said.predictions == net.clips["predictions"] == 3 * (4 + 4)
    assert said.gradients == net.clips["passes"]


def test_clips_under_attack_cost_so_much_at_most(net: Counting, tmp_path: Path) -> None:
    """Those that are misread cost less."""
    request = asked(attack=None, validation={"attack": PGD})
    trained(net, request, tmp_path, of=videos(8, 4))
    said = cost(request, validation_clips=4)
    assert said.gradients == 3 * (4 + 4) * 6 + net.clips["passes"]
    assert said.predictions == 3 * (4 + 4) * 2
    assert 0 < net.clips["gradients"] <= said.gradients - net.clips["passes"]
    assert 3 * (4 + 4) <= net.clips["predictions"] <= said.predictions


def test_no_more_training_clips_than_validation_clips_are_looked_at() -> None:
    request = asked(attack=None, steps=1, batch_size=8)
    looked_at = [
        cost(request, train_clips=train, validation_clips=validation).predictions
        for train, validation in ((1000, 30), (1000, 500), (50, 500))
    ]
    assert looked_at == [60, 700, 550]


def test_devices_share_the_work_where_they_bring_what_does_it() -> None:
    """The speed of a processor was measured on all of its cores."""

    def seconds(device: str, **fields: Any) -> float:
        found = cost(asked(batch_size=8, **fields), speed=(device, 1.0)).seconds
        assert found is not None
        return found

    assert seconds("cpu", devices=4) == seconds("cpu")
    assert seconds("cpu", devices=4, hosts=2) == seconds("cpu") / 2
    assert seconds("cuda", devices=4) == seconds("cuda", devices=4, hosts=2) == seconds("cuda") / 4


def test_steps_that_are_too_short_for_the_bound_are_named() -> None:
    short = {"kind": "multav-linf", "steps": 2}
    (said,) = cost(asked(steps=1, batch_size=8, attack=short)).remarks
    assert said.startswith("multav-linf: 2 steps of 1.01 cannot lead farther than 1.02")
    # These take steps of their own.
    assert cost(asked(steps=1, batch_size=8, attack=short, method="fast")).remarks == ()
