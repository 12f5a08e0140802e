"""Random numbers of a training. Each has a seed of its own, so that a training that goes on needs no memory of them."""

import hashlib
from typing import Final, Literal

import torch

Purpose = Literal["order", "augmentation", "mixture", "network"]
_SAMPLES_PER_STEP: Final = 2**13


def seed_of(seed: int, purpose: Purpose, number: int) -> int:
    """The seed for what step or epoch `number` draws for one purpose."""
    digest = hashlib.sha256(f"multav-training:{seed}:{purpose}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def generator_of(seed: int, purpose: Purpose, number: int) -> torch.Generator:
    """A CPU generator with that seed."""
    return torch.Generator().manual_seed(seed_of(seed, purpose, number))


def first_sample(step: int) -> int:
    """The number of a step's first clip, from which its attack draws: every step draws anew."""
    return step * _SAMPLES_PER_STEP
