"""Random changes of clips: each of its own draw, alike in all frames, and nothing that was not asked for."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from multav.training.augmentation import augmented
from multav.training.draws import Purpose, generator_of, seed_of
from multav.training.request import Augmentation
from tests.multav.training.small_trainings import clips_of

CLIPS, _ = clips_of(64)


def made(seed: int = 0, clips: Tensor = CLIPS, **how: float) -> Tensor:
    return augmented(clips, Augmentation.model_validate(how), torch.Generator().manual_seed(seed))


def test_the_papers_recipe_changes_nothing() -> None:
    assert made().equal(CLIPS)


def test_mirrors_as_many_as_asked() -> None:
    before = CLIPS.clone()
    found = made(flip=0.25)
    mirrored = [new.equal(old.flip(3)) for new, old in zip(found, CLIPS, strict=True)]
    same = [new.equal(old) for new, old in zip(found, CLIPS, strict=True)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 6 <= sum(mirrored) <= 28
    assert CLIPS.equal(before)
    assert made(flip=1.0).equal(CLIPS.flip(4))


def test_shifts_all_frames_alike_and_repeats_the_edge() -> None:
    found = made(shift=2)
    places = set()
    for new, old in zip(found, CLIPS, strict=True):
        padded = torch.nn.functional.pad(old, (2, 2, 2, 2, 0, 0), mode="replicate")
        fits = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if new.equal(padded[:, :, row : row + 12, column : column + 12])
        ]
        assert len(fits) == 1
        places.add(fits[0])
    assert {row for row, _ in places} == {column for _, column in places} == set(range(5))


def test_brightness_is_one_factor_a_clip_and_stays_in_range() -> None:
    found = made(brightness=0.5, clips=CLIPS / 2)
    factors = (found / (CLIPS / 2)).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors), rtol=1e-5, atol=0)
    assert factors[:, 0].min() < 0.65
    assert factors[:, 0].max() > 1.35
    assert ((factors >= 0.5 - 1e-5) & (factors <= 1.5 + 1e-5)).all()
    assert made(brightness=0.9).max() == 1


def test_draws_are_those_of_the_generator() -> None:
    how: dict[str, Any] = {"flip": 0.5, "shift": 3, "brightness": 0.3}
    torch.manual_seed(1)
    first = made(5, **how)
    torch.manual_seed(2)
    assert made(5, **how).equal(first)
    assert not made(6, **how).equal(first)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_every_purpose_and_number_has_a_seed_of_its_own(seed: int) -> None:
    seeds = {seed_of(seed, purpose, number) for purpose in get_args(Purpose) for number in range(100)}
    assert len(seeds) == 400
    for each in seeds:
        torch.Generator().manual_seed(each)
    drawn = [torch.rand(3, generator=generator_of(seed, "order", 3)) for _ in range(2)]
    assert drawn[0].equal(drawn[1])
