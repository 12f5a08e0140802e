"""Trainings of seconds: made videos of coloured noise, small networks, and short requests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from multav.datasets.listing import ListedVideo
from multav.datasets.made_video import MadeVideo
from multav.geometry import InputGeometry
from multav.training.request import TrainingRequest
from multav.training.train import Trained, train
from multav.training.videos import TrainingVideos
from multav.video.limits import Limits

CLASSES = ("red", "green", "blue")
GEOMETRY = InputGeometry(frames=4, stride=1, short_side=12, height=12, width=12)
ATTACK: dict[str, Any] = {"kind": "multav-linf", "epsilon": 1.2, "step_size": 1.1, "steps": 2}
PLAIN: dict[str, Any] = {
    "precision": "float32",
    "batch_size": 4,
    "steps": 5,
    "attack": ATTACK,
    "optimiser": {"kind": "sgd", "learning_rate": 0.05},
    "schedule": {"kind": "constant"},
}


@dataclass(frozen=True)
class Noise(MadeVideo):
    """Noise in which one colour is a little brighter than the others; `wild` videos have a random one."""

    wild: bool = False

    @property
    def formula(self) -> str:
        return f"noise {self.index} {self.label} {self.wild}"

    def pictures(self) -> NDArray[np.uint8]:
        """(T, H, W, 3) RGB."""
        generator = np.random.default_rng(self.index)
        levels = generator.uniform(40, 140, (4, 12, 12, 3)) + generator.uniform(0, 40, (1, 1, 1, 3))
        levels[..., generator.integers(3) if self.wild else self.label] += 25
        return levels.astype(np.uint8)


def noises(indices: range, *, wild: bool = False) -> tuple[ListedVideo, ...]:
    """A video of each class in turn, each a group of its own."""
    return tuple(Noise(index, str(index), index % 3, str(index), wild=wild) for index in indices)


def videos(train: int = 8, validation: int = 4) -> TrainingVideos:
    """Eight to learn from and four others to look at, if nothing else is said."""
    return TrainingVideos(CLASSES, noises(range(train)), noises(range(100, 100 + validation)), "as it is")


class Small(nn.Module):
    """A smooth network with batch norm, and with dropout if it is asked for."""

    def __init__(self, *, norm: bool = True, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            # Batch norm takes a bias out again.
            self.conv = nn.Conv3d(3, 5, 3, stride=2, bias=not norm)
            self.norm = nn.BatchNorm3d(5) if norm else nn.Identity()
            self.dropout = nn.Dropout(dropout)
            self.head = nn.Linear(5, 3)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 3)."""
        features = torch.tanh(self.norm(self.conv(clips * 3 - 1)))
        logits: Tensor = self.head(self.dropout(features.mean(dim=(2, 3, 4)) * 4))
        return logits


def asked(**fields: Any) -> TrainingRequest:
    """`PLAIN` with other fields."""
    return TrainingRequest.parse(PLAIN | fields)


def clips_of(count: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Clips (count, 3, 4, 12, 12) in [0.1, 0.9] and labels."""
    generator = torch.Generator().manual_seed(seed)
    clips = torch.rand(count, 3, 4, 12, 12, generator=generator) * 0.8 + 0.1
    return clips, torch.randint(3, (count,), generator=generator)


def trained(
    net: nn.Module,
    request: TrainingRequest,
    folder: Path,
    *,
    of: TrainingVideos | None = None,
    check: Callable[[], None] = lambda: None,
    **more: Any,
) -> Trained:
    """A whole training of `net`, whose checkpoint is `folder`/checkpoint."""
    return train(
        net,
        request,
        videos() if of is None else of,
        more.pop("geometry", GEOMETRY),
        limits=Limits(),
        checkpoint_at=folder / "checkpoint",
        check=check,
        **more,
    )
