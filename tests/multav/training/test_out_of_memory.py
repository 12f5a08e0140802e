"""Where memory runs out a batch goes through the model in smaller pieces, and nothing counts twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from multav.errors import Interrupted, OutOfMemory
from multav.training.curve import CurvePoint
from multav.training.trainer import Trainer
from tests.multav.training.small_trainings import Small, asked, clips_of, trained

WORDS = ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes", "CUDA out of memory")


class Narrow(Small):
    """Refuses more than `most` clips in train mode, with layers of its own done by then; remembers the others."""

    def __init__(self, most: int, *, words: str = WORDS[0], **fields: Any) -> None:
        super().__init__(**fields)
        self.most, self.words = most, words
        self.sizes: list[int] = []
        self.refused = 0

    def forward(self, clips: Tensor) -> Tensor:
        logits = super().forward(clips)
        if self.training and len(clips) > self.most:
            self.refused += 1
            raise RuntimeError(self.words)
        if self.training:
            self.sizes.append(len(clips))
        return logits


class Late(Narrow):
    """Runs out of memory at the last piece alone, once: those before it have left their traces."""

    def forward(self, clips: Tensor) -> Tensor:
        if self.training and len(self.sizes) == 1 and not self.refused:
            super(Narrow, self).forward(clips)
            self.refused += 1
            raise MemoryError
        return super().forward(clips)


def trainer(net: Small, batch: int = 8, **fields: Any) -> Trainer:
    return Trainer(net, asked(batch_size=batch, **fields), steps=9, steps_per_epoch=3)


def in_pieces(sizes: list[int], *, batch: int = 8, **fields: Any) -> dict[str, Tensor]:
    """The state after three steps with pieces of that number from the beginning."""
    net = Narrow(99, **fields)
    training = trainer(net, batch, accumulation=len(sizes))
    for seed in range(3):
        training.train_on(*clips_of(batch, seed))
    assert net.sizes == sizes * 3
    return net.state_dict()


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(
    ("batch", "most", "sizes"),
    [(8, 4, [4, 4]), (8, 2, [2] * 4), (8, 3, [2] * 4), (7, 4, [4, 3]), (6, 2, [2] * 3), (10, 2, [2] * 5)],
)
def test_pieces_are_halved_and_no_step_is_taken_twice(
    batch: int, most: int, sizes: list[int], words: str
) -> None:
    net = Narrow(most, words=words, dropout=0.3)
    training = trainer(net, batch)
    for seed in range(3):
        assert len(training.train_on(*clips_of(batch, seed))) == 1
    assert training.pieces == len(sizes)
    assert net.sizes == sizes * 3
    assert training.step == 3
    for name, tensor in in_pieces(sizes, batch=batch, dropout=0.3).items():
        assert net.state_dict()[name].equal(tensor), name
    assert net.refused == (2 if len(sizes) > 3 else 1) + (batch == 6) + (batch == 10)


def test_a_piece_that_had_gone_through_leaves_no_trace() -> None:
    net = Late(99, dropout=0.3)
    training = trainer(net, accumulation=2)
    clips, labels = clips_of(8)
    training.train_on(clips, labels)
    assert (net.refused, training.pieces) == (1, 4)
    whole = Narrow(99, dropout=0.3)
    trainer(whole, accumulation=4).train_on(clips, labels)
    for name, tensor in whole.state_dict().items():
        assert net.state_dict()[name].equal(tensor), name


def test_free_training_takes_the_gradient_of_the_clips_once() -> None:
    ends = []
    for net, accumulation in ((Late(99), 2), (Narrow(99), 4)):
        trainer(net, method="free", replays=3, accumulation=accumulation).train_on(*clips_of(8))
        ends.append(net.state_dict())
    for name, tensor in ends[1].items():
        assert ends[0][name].equal(tensor), name


@pytest.mark.parametrize("batch", [2, 3, 4, 6, 8])
def test_at_the_end_of_the_road_it_is_said(batch: int) -> None:
    net = Narrow(1)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    training = trainer(net, batch)
    with pytest.raises(OutOfMemory, match=rf"a piece of {3 if batch == 3 else 2} clips"):
        training.train_on(*clips_of(batch))
    assert training.step == 0
    for name, tensor in net.state_dict().items():
        assert tensor.equal(state[name]), name


def test_another_error_is_no_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="something else"):
        trainer(Narrow(2, words="something else")).train_on(*clips_of(8))


@pytest.mark.parametrize(("clips", "sizes"), [(2, [2]), (3, [3]), (5, [3, 2]), (7, [3, 2, 2]), (8, [2] * 4)])
def test_a_batch_that_bad_videos_left_small_has_fewer_pieces(clips: int, sizes: list[int]) -> None:
    """None of them empty, and none of a single clip."""
    net = Narrow(99)
    training = trainer(net, accumulation=4)
    training.train_on(*clips_of(clips))
    assert net.sizes == sizes
    training.train_on(*clips_of(8))
    assert net.sizes[len(sizes) :] == [2] * 4


def test_a_whole_training_says_so(tmp_path: Path) -> None:
    net = Narrow(2)
    done = trained(net, asked(), tmp_path)
    assert done.pieces == 2
    assert done.remarks == (
        "memory ran out: each batch went through the model in 2 pieces in the end, each with its own batch statistics",
    )
    assert net.refused == 1
    assert trained(Narrow(2), asked(accumulation=2), tmp_path).remarks == ()


def test_the_pieces_are_known_to_who_goes_on(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    expected = trained(Narrow(2), asked(steps=6), tmp_path, on_point=points.append)
    calls = iter(range(8))

    def check() -> None:
        if next(calls, None) is None:
            raise Interrupted

    with pytest.raises(Interrupted):
        trained(Narrow(2), asked(steps=6), tmp_path, check=check)
    rest: list[CurvePoint] = []
    net = Narrow(99)
    found = trained(
        net, asked(steps=6), tmp_path, resume_from=tmp_path / "checkpoint", on_point=rest.append
    )
    assert set(net.sizes) == {2}
    for name, tensor in expected.model.state_dict().items():
        assert found.model.state_dict()[name].equal(tensor)
    assert [replace(point, waiting=None) for point in rest][-1] == replace(points[-1], waiting=None)


def test_pieces_of_the_attack_are_its_own() -> None:
    """Memory that runs out while clips are crafted is the attack's affair: same clips, no more pieces of the step."""

    class Tight(Narrow):
        def forward(self, clips: Tensor) -> Tensor:
            if not self.training and len(clips) > 3:
                raise torch.OutOfMemoryError
            return super().forward(clips)

    net, wide = Tight(99), Narrow(99)
    trainings = [trainer(net), trainer(wide)]
    for training in trainings:
        training.train_on(*clips_of(8))
        assert training.pieces == 1
    for name, tensor in wide.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)
