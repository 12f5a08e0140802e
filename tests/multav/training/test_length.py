"""How many steps, batches and looks a training has, and which videos are in which batch."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from multav.training.batches import training_order
from multav.training.curve import CurvePoint
from multav.training.estimate import TrainingEstimate, estimate
from multav.training.length import Length
from multav.training.request import TrainingRequest
from tests.multav.training.small_trainings import GEOMETRY, PLAIN, Small, asked, noises, trained, videos


def length(count: int, **fields: Any) -> Length:
    return Length.of(TrainingRequest.parse(fields), count)


def test_the_paper_on_ucf101() -> None:
    """15 epochs of 2384 batches of 4; the last clip of 9537 is dropped (paper-facts E1)."""
    found = length(9537)
    assert (found.batch, found.steps, found.steps_per_epoch, found.batches) == (4, 15 * 2384, 2384, 15 * 2384)
    assert found.look_every == 2384
    assert found.epoch(2384 * 3) == 3


def test_steps_in_place_of_epochs_and_looks_epochs_apart() -> None:
    found = length(11, steps=13, validation={"every_epochs": 3})
    assert (found.steps, found.steps_per_epoch, found.look_every) == (13, 2, 6)
    assert found.epoch(13) == 6.5


def test_fewer_videos_than_a_batch_are_one() -> None:
    found = length(3, batch_size=8, epochs=2)
    assert (found.batch, found.steps) == (3, 2)
    assert length(100, batch_size="auto").batch == 32


def test_a_batch_that_is_smaller_than_asked_is_said(tmp_path: Path) -> None:
    words = ("batches are of 8 clips, not of 32: the dataset has no more videos to train on",)
    assert trained(Small(), asked(batch_size=32, steps=2), tmp_path).remarks == words
    assert trained(Small(), asked(batch_size="auto", steps=2), tmp_path).remarks == words
    assert trained(Small(), asked(batch_size=8, steps=2), tmp_path).remarks == ()

    def cost(**fields: Any) -> TrainingEstimate:
        return estimate(
            asked(**fields),
            train_clips=8,
            validation_clips=4,
            geometry=GEOMETRY,
            parameters=9,
            speed=("cpu", 1.0),
            workers=1,
        )

    assert cost(batch_size=32).remarks == words
    assert cost(batch_size=8).remarks == ()


def test_free_training_takes_so_many_fewer_batches() -> None:
    found = length(40, method="free", replays=8, epochs=3)
    assert (found.steps, found.steps_per_batch, found.batches) == (30, 8, 4)


def order(count: int, batch: int, batches: int, first: int = 0, seed: int = 0) -> list[int]:
    found = training_order(noises(range(count)), batch=batch, first_batch=first, batches=batches, seed=seed)
    return [video.index for video in found]


def test_every_epoch_has_an_order_of_its_own_and_drops_what_is_left() -> None:
    found = order(11, batch=3, batches=9)
    assert len(found) == 27
    epochs = [found[start : start + 9] for start in (0, 9, 18)]
    assert all(max(Counter(epoch).values()) == 1 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    # What is dropped is not the same every time.
    assert len({*epochs[0]} & {*epochs[1]} & {*epochs[2]}) < 9
    assert found == order(11, batch=3, batches=9)
    assert found != order(11, batch=3, batches=9, seed=1)


@pytest.mark.parametrize("first", range(10))
def test_an_order_may_be_entered_anywhere(first: int) -> None:
    assert order(11, 3, 9, first) == order(11, 3, 9)[3 * first :]


class Counting(Small):
    """Remembers how many clips it descended on."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, clips: Tensor) -> Tensor:
        if self.training:
            self.sizes.append(len(clips))
        return super().forward(clips)


@pytest.mark.parametrize(
    ("fields", "steps", "looks"),
    [
        ({"epochs": 2}, 4, [2, 4]),
        ({"steps": 5}, 5, [2, 4, 5]),
        ({"epochs": 3, "validation": {"every_epochs": 2}}, 6, [4, 6]),
        ({"steps": 1}, 1, [1]),
        # A batch of free training is gone through before anything is looked at.
        ({"epochs": 4, "method": "free", "replays": 3}, 8, [3, 6, 8]),
    ],
)
def test_a_training_is_as_long_as_it_says(
    fields: dict[str, Any], steps: int, looks: list[int], tmp_path: Path
) -> None:
    net, points = Counting(), list[CurvePoint]()
    body = {name: value for name, value in PLAIN.items() if name != "steps"} | fields
    done = trained(net, TrainingRequest.parse(body), tmp_path, of=videos(9), on_point=points.append)
    assert done.steps == steps
    assert net.sizes == [4] * steps
    assert [point.step for point in points if point.series == "look"] == looks
    assert [point.step for point in points if point.series == "step"][-1] == steps
    assert points[-1].epoch == steps / 2
    assert not done.stopped_early


def test_progress_counts_steps(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    trained(
        Small(), asked(), tmp_path, on_progress=lambda progress: heard.append((progress.done, progress.total))
    )
    assert heard == [(step, 5) for step in range(1, 6)]
