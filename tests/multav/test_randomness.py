"""Draws belong to a seed and a sample, and to nothing else."""

import pytest
import torch

from multav.randomness import Draws, sample_numbers

CLIPS = torch.zeros(4, 3, 2, 5, 6)


def test_a_sample_draws_the_same_in_any_batch() -> None:
    whole = Draws(CLIPS, seed=7, first_sample=20)
    noise, numbers = whole.noise(), whole.integers(1000, (2, 2))
    for index in reversed(range(4)):
        alone = Draws(CLIPS[:1], seed=7, first_sample=20 + index)
        assert alone.noise()[0].equal(noise[index])
        assert alone.integers(1000, (2, 2))[0].equal(numbers[index])


def test_seeds_samples_and_repeated_draws_differ() -> None:
    draws = Draws(CLIPS, seed=0, first_sample=0)
    first, second = draws.noise(), draws.noise()
    other = Draws(CLIPS, seed=1, first_sample=0).noise()
    clips = [*first, *second, *other]
    assert not any(a.equal(b) for index, a in enumerate(clips) for b in clips[:index])


def test_noise_is_uniform_and_leaves_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    noise = Draws(torch.zeros(2, 3, 8, 40, 40), seed=3, first_sample=0).noise()
    assert torch.get_rng_state().equal(state)
    assert -1 <= noise.min() < -0.999
    assert 0.999 < noise.max() <= 1
    quantiles = torch.quantile(noise[0].flatten(), torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]))
    torch.testing.assert_close(quantiles, torch.tensor([-0.8, -0.5, 0.0, 0.5, 0.8]), atol=0.02, rtol=0)


def test_noise_takes_the_shape_and_type_of_the_clips_whatever_their_layout() -> None:
    clips = torch.zeros(2, 3, 4, 6, 6, dtype=torch.float64)
    plain = Draws(clips, seed=0, first_sample=0).noise()
    last = Draws(clips.to(memory_format=torch.channels_last_3d), seed=0, first_sample=0).noise()
    assert plain.equal(last)
    assert last.is_contiguous()
    assert plain.dtype == torch.float64


def test_integers_fill_their_range() -> None:
    drawn = Draws(CLIPS, seed=0, first_sample=0).integers(3, (50,))
    assert drawn.shape == (4, 50)
    assert set(drawn.flatten().tolist()) == {0, 1, 2}


def test_samples_may_be_numbered_one_by_one() -> None:
    whole = Draws(CLIPS, seed=7, first_sample=20).noise()
    some = Draws(CLIPS[:3], seed=7, first_sample=[22, 20, 23]).noise()
    assert some.equal(whole[[2, 0, 3]])
    assert sample_numbers(3, 2) == sample_numbers((3, 4), 2) == (3, 4)


def test_sample_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 numbers for 4 clips"):
        Draws(CLIPS, seed=0, first_sample=[1, 2, 3])
    with pytest.raises(TypeError, match=r"holds 1\.5"):
        sample_numbers([1, 1.5], 2)  # type: ignore[list-item]
