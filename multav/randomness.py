"""Random draws that depend on nothing but the seed and the sample: not on batches, not on order, not on devices."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def generator(seed: int, sample: int) -> torch.Generator:
    """A CPU generator of its own for each (seed, sample)."""
    digest = hashlib.sha256(f"multav:{seed}:{sample}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def sample_numbers(first_sample: int | Sequence[int], samples: int) -> tuple[int, ...]:
    """The number of each of `samples` clips: counted up from the first, or as they are given, one by one.

    Raises `TypeError` for numbers that are no integers, `ValueError` for more or fewer numbers than clips.
    """
    if isinstance(first_sample, int):
        return tuple(range(first_sample, first_sample + samples))
    numbers = tuple(first_sample)
    wrong = [number for number in numbers if not isinstance(number, int)]
    if wrong:
        raise TypeError(f"first_sample holds {wrong[0]!r}; expected an integer, or one integer for each clip")
    if len(numbers) != samples:
        raise ValueError(
            f"first_sample has {len(numbers)} numbers for {samples} clips; expected one for each"
        )
    return numbers


class Draws:
    """Random numbers for the clips of a batch, each from (seed, its sample number), whatever is beside it."""

    def __init__(self, clips: Tensor, *, seed: int, first_sample: int | Sequence[int]) -> None:
        """For `clips` (B, ...), on whose device the draws arrive; see `sample_numbers`."""
        self._clips = clips
        self._generators = [generator(seed, number) for number in sample_numbers(first_sample, len(clips))]

    def noise(self) -> Tensor:
        """Uniform in [-1, 1], contiguous, with the shape, dtype and device of the clips."""
        noise = torch.empty(self._clips.shape, dtype=self._clips.dtype)
        for part, own in zip(noise, self._generators, strict=True):
            part.uniform_(-1, 1, generator=own)
        return noise.to(self._clips.device)

    def integers(self, below: int, shape: Sequence[int]) -> Tensor:
        """Uniform in 0 .. below - 1, int64 (B, *shape), on the clips' device."""
        drawn = [torch.randint(below, tuple(shape), generator=own) for own in self._generators]
        return torch.stack(drawn).to(self._clips.device)

    def subsets(self, count: int, of: int, frames: int) -> Tensor:
        """For each frame `count` distinct numbers of 0 .. of - 1, int64 (B, frames, count), on the clips' device."""
        drawn = [
            torch.stack([torch.randperm(of, generator=own)[:count] for _ in range(frames)])
            for own in self._generators
        ]
        return torch.stack(drawn).to(self._clips.device)
