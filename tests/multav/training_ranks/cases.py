"""Trainings that are run by one process and by several, to be compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from multav.datasets.listing import ListedVideo
from multav.datasets.synthetic import CameraMotionClip
from multav.errors import BadVideo
from multav.geometry import InputGeometry
from multav.training.curve import CurvePoint
from multav.training.ranks import Ranks
from multav.training.request import TrainingRequest
from multav.training.train import Trained, train
from multav.training.videos import TrainingVideos
from multav.video.limits import Limits

GEOMETRY = InputGeometry(frames=8, stride=1, short_side=16, height=16, width=16)
PLAIN: dict[str, Any] = {
    "precision": "float32",
    "batch_size": 8,
    "steps": 5,
    "validation": {"every_epochs": 2},
    "attack": {"kind": "multav-linf", "epsilon": 1.2, "step_size": 1.1, "steps": 2},
    "optimiser": {"kind": "sgd", "learning_rate": 0.05},
    "schedule": {"kind": "constant"},
}
MIXTURE = {
    "kind": "mixture",
    "choice": "worst",
    "attacks": [{"kind": "multav-linf", "steps": 2}, {"kind": "pgd-l2", "steps": 2}],
}
FAR: dict[str, Any] = {"kind": "pgd-l2", "epsilon": 30.0, "step_size": 30.0, "steps": 2}


@dataclass(frozen=True)
class Case:
    """A request, whether the network has batch norm, and videos that give no clip."""

    fields: dict[str, Any]
    norm: bool = False
    bad: tuple[int, ...] = ()


CASES: dict[str, Case] = {
    "plain": Case({}),
    "batch norm": Case({}, norm=True),
    "pieces": Case({"accumulation": 2}, norm=True),
    # Of ten clips each rank has five: halves of these would be pieces of six and of four.
    "odd pieces": Case({"batch_size": 10, "accumulation": 2, "clean_fraction": 0.4}, norm=True),
    "pieces, bad videos": Case({"accumulation": 2}, norm=True, bad=(1, 6, 7)),
    "drawn": Case(
        {
            "augmentation": {"flip": 0.5, "shift": 2, "brightness": 0.2},
            "clean_fraction": 0.4,
            "average": 0.9,
            "attack": {"kind": "multav-linf", "steps": 2, "random_start": True},
        }
    ),
    # Near the clean answers the divergence has next to no slope, whose sign is a matter of rounding.
    "trades": Case(
        {"method": "trades", "beta": 1.0, "optimiser": {"kind": "adamw"}, "attack": FAR}, norm=True
    ),
    "trades, by the loss": Case(
        {"method": "trades", "crafting": "loss", "optimiser": {"kind": "adamw"}}, norm=True
    ),
    "free": Case({"method": "free", "replays": 3, "clean_fraction": 0.2}, norm=True),
    "mixture": Case({"attack": MIXTURE, "gradient_norm": 0.5}),
    "bad videos": Case({"attack": {"kind": "multav-linf", "steps": 2, "random_start": True}}, bad=(1, 6, 7)),
}


class Net(nn.Module):
    """A smooth network of a few layers."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            # Batch norm takes a bias out again.
            self.conv1 = nn.Conv3d(3, 6, 3, stride=2, bias=not norm)
            self.norm1 = nn.BatchNorm3d(6) if norm else nn.Identity()
            self.conv2 = nn.Conv3d(6, 8, 3, stride=2, padding=1, bias=not norm)
            self.norm2 = nn.BatchNorm3d(8) if norm else nn.Identity()
            self.head = nn.Linear(8, 10)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 10)."""
        features = torch.tanh(self.norm1(self.conv1(clips * 2 - 1)))
        features = torch.tanh(self.norm2(self.conv2(features)))
        logits: Tensor = self.head(features.mean((2, 3, 4)) * 4)
        return logits


class Missing:
    """Where clips come from; those of some videos cannot be read."""

    def __init__(self, bad: tuple[int, ...]) -> None:
        self._bad = bad

    def load(self, video: ListedVideo, *arguments: Any, **named: Any) -> Any:
        """As `load_clip`."""
        from multav.datasets.clips import load_clip

        if video.index in self._bad:
            raise BadVideo(f"{video.name} is torn")
        return load_clip(video, *arguments, **named)


def videos(train: int = 16, validation: int = 5) -> TrainingVideos:
    """Made clips."""
    made = [
        CameraMotionClip(index, str(index), index % 10, str(index), seed=1, frames=8, size=16)
        for index in range(train + validation)
    ]
    return TrainingVideos(tuple("abcdefghij"), tuple(made[:train]), tuple(made[train:]), "as it is")


def run(
    case: Case, ranks: Ranks | None, folder: Path, **more: Any
) -> tuple[nn.Module, Trained, list[CurvePoint]]:
    """The network that was trained, what came of it, and the points of its curve."""
    net = Net(norm=case.norm)
    points: list[CurvePoint] = []
    trained = train(
        net,
        TrainingRequest.parse(PLAIN | case.fields),
        videos(),
        GEOMETRY,
        limits=Limits(),
        cache=Missing(case.bad),
        checkpoint_at=folder / "checkpoint",
        on_point=points.append,
        ranks=ranks,
        **more,
    )
    return net, trained, points
