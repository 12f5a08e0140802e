"""Random draws that depend on nothing but the seed and the sample: not on batches, not on order, not on devices."""

import hashlib

import torch
from torch import Tensor


def generator(seed: int, sample: int) -> torch.Generator:
    """A CPU generator of its own for each (seed, sample)."""
    digest = hashlib.sha256(f"multav:{seed}:{sample}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def uniform_noise(like: Tensor, *, seed: int, first_sample: int) -> Tensor:
    """Uniform in [-1, 1], shape, dtype and device of `like` (B, ...); sample i draws from (seed, first_sample + i)."""
    draws = [
        torch.rand(like.shape[1:], generator=generator(seed, first_sample + index), dtype=like.dtype)
        for index in range(len(like))
    ]
    return torch.stack(draws).mul_(2).sub_(1).to(like.device)
