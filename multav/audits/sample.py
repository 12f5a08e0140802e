"""The clips that an audit's doubts are settled on, and attacks on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multav.attacks.catalogue import AnyAttack
from multav.audits.evaluation import AttackedVideo, OnStep, VideoClips, attack_videos
from multav.audits.request import Checks
from multav.precision import Precision


@dataclass(frozen=True)
class Sample:
    """Clips that `model` knows, and the attack that is doubted.

    `clips` (n, 3, T, H, W) float32 in [0, 1], one window each; `labels` int64 (n,), all predicted rightly; `indices`
    are the videos' places in their listing, from which random numbers are drawn.
    """

    model: nn.Module
    clips: Tensor
    labels: Tensor
    indices: tuple[int, ...]
    attack: AnyAttack
    checks: Checks
    seed: int
    precision: Precision
    on_step: OnStep | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def attacked(
        self, attack: AnyAttack, *, rows: Sequence[int] | None = None, on: nn.Module | None = None
    ) -> list[AttackedVideo]:
        """What `attack` makes of the clips `rows` (all if None), crafted on this model or on another."""
        chosen = range(len(self)) if rows is None else rows
        videos = [
            VideoClips(self.indices[row], int(self.labels[row]), self.clips[row : row + 1]) for row in chosen
        ]
        return attack_videos(
            self.model if on is None else on,
            videos,
            attack,
            seed=self.seed,
            precision=self.precision,
            on_step=self.on_step,
        )

    def fooled(
        self, attack: AnyAttack, *, rows: Sequence[int] | None = None, on: nn.Module | None = None
    ) -> set[int]:
        """Of the clips `rows` (all if None) those on which `attack` fools the model it was crafted on."""
        chosen = range(len(self)) if rows is None else rows
        results = self.attacked(attack, rows=rows, on=on)
        return {
            row for row, result in zip(chosen, results, strict=True) if result.fools(int(self.labels[row]))
        }

    def misread(self, logits: Tensor) -> set[int]:
        """The clips that `logits` (n, classes) get wrong."""
        return set((logits.argmax(1) != self.labels).nonzero()[:, 0].tolist())


@dataclass(frozen=True)
class Baseline:
    """The attack as the audit runs it: `results` for every clip, and the clips that it `fooled`."""

    results: tuple[AttackedVideo, ...]
    fooled: frozenset[int]

    @property
    def left(self) -> tuple[int, ...]:
        """The clips on which the model stayed right."""
        return tuple(row for row in range(len(self.results)) if row not in self.fooled)

    @property
    def mask(self) -> Tensor:
        """Bool (n, 1, T, H, W): where the attack may act."""
        return torch.cat([result.mask for result in self.results])


def baseline(sample: Sample) -> Baseline:
    """Run the attack that is doubted."""
    results = tuple(sample.attacked(sample.attack))
    fooled = frozenset(row for row, result in enumerate(results) if result.fools(int(sample.labels[row])))
    return Baseline(results, fooled)
