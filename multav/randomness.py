"""Random draws that depend on nothing but the seed and the sample: not on batches, not on order, not on devices."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def generator(seed: int, sample: int) -> torch.Generator:
    """A CPU generator of its own for each (seed, sample)."""
    digest = hashlib.sha256(f"multav:{seed}:{sample}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


class Draws:
    """Random numbers for the clips of a batch; clip i draws from (seed, first_sample + i), whatever is beside it."""

    def __init__(self, clips: Tensor, *, seed: int, first_sample: int) -> None:
        """For `clips` (B, ...), on whose device the draws arrive."""
        self._clips = clips
        self._generators = [generator(seed, first_sample + index) for index in range(len(clips))]

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
