"""Attacking one segment of a video on its source pictures, through the preprocessing, down to 8-bit pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from multav.attacks.spec import AttackSpec
from multav.gradient_loop import Evaluation, ascend
from multav.prediction import Scorer
from multav.quantise import LevelBounds, levels_toward
from multav.windows import Sample, Segment

Picture = NDArray[np.uint8]

# Clean, adversarial and gradient values of the samples that are attacked at once stay within this.
_BATCH_BYTES = 2**30


@dataclass(frozen=True)
class CraftedSegment:
    """A segment's crafted pictures, and how the attack went.

    `pictures` are uint8 (H, W, 3); those that no sample holds are the source's own arrays. `losses` is
    (steps + 1, samples): the mean cross-entropy of a sample's windows before each step and after the last.
    `clips` holds for each window the float32 adversarial pictures (3, T, rows, columns) of the seen part.
    """

    pictures: tuple[Picture, ...]
    losses: Tensor
    clips: tuple[Tensor, ...]


@dataclass
class WindowObjective:
    """The loss that the attack climbs: mean cross-entropy over a sample's windows, by its source pictures.

    Called with (B, 3, F, rows, columns) in [0, 1]; all B samples share the same `windows`.
    """

    scorer: Scorer
    windows: tuple[tuple[int, ...], ...]
    label: int
    _gradient: Tensor | None = None

    def __call__(self, clips: Tensor) -> Evaluation:
        """Losses (B,), logits (B, classes) and the gradient of the summed losses by `clips`."""
        # Detached: without resizing it is the loop's own buffer, whose history must not grow.
        small = self.scorer.preprocessing.apply(clips).detach().requires_grad_()
        with torch.enable_grad():
            losses, logits = self._losses(small)
            (by_small,) = torch.autograd.grad(losses.sum(), small)
        if self._gradient is None or self._gradient.shape != clips.shape:
            self._gradient = torch.empty_like(clips)
        gradient = self.scorer.preprocessing.adjoint(by_small, out=self._gradient)
        return Evaluation(losses.detach(), logits.detach(), gradient)

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (B,) and logits (B, classes), without a gradient."""
        with torch.no_grad():
            return self._losses(self.scorer.preprocessing.apply(clips))

    def _losses(self, small: Tensor) -> tuple[Tensor, Tensor]:
        # (B, 3, F, h, w) -> (B * windows, 3, T, h, w)
        clips = torch.stack([small[:, :, list(window)] for window in self.windows], dim=1).flatten(0, 1)
        logits = self.scorer.logits(clips)
        labels = torch.full((len(logits),), self.label, device=logits.device)
        losses = functional.cross_entropy(logits, labels, reduction="none")
        shape = (len(small), len(self.windows))
        return losses.reshape(shape).mean(1), logits.reshape(*shape, -1).mean(1)


@dataclass(frozen=True)
class Crafter:
    """An attack bound to a model, a label and a seed, ready for the segments of one video."""

    scorer: Scorer
    attack: AttackSpec
    bounds: LevelBounds
    label: int
    seed: int

    def craft(
        self, segment: Segment[Picture], *, on_step: Callable[[int], None], keep_clips: bool
    ) -> CraftedSegment:
        """Attack every sample of `segment`; `on_step` is called before each gradient step and may raise."""
        pictures = list(segment.pictures)
        losses: list[Tensor] = []
        clips: list[Tensor] = []
        if segment.samples:
            clean = self.scorer.seen(segment.pictures)
            first = segment.first_window
            for samples in self._batches(segment.samples, clean):
                frames = [list(sample.frames) for sample in samples]
                # (3, frames, H, W) uint8 -> (B, 3, F, H, W)
                levels = torch.stack([clean[:, positions] for positions in frames])
                ascent = ascend(
                    WindowObjective(self.scorer, samples[0].windows, self.label),
                    levels.float().div_(255),
                    self.attack,
                    seed=self.seed,
                    first_sample=first,
                    on_step=on_step,
                )
                first += sum(len(sample.windows) for sample in samples)
                losses.append(ascent.losses.cpu())
                if keep_clips:
                    clips += [
                        clip[:, list(window)].cpu() for clip in ascent.clips for window in samples[0].windows
                    ]
                self._paste(pictures, frames, levels_toward(ascent.clips, levels), levels)
        return CraftedSegment(
            tuple(pictures),
            torch.cat(losses, dim=1) if losses else torch.empty(self.attack.steps + 1, 0),
            tuple(clips),
        )

    def _batches(self, samples: Sequence[Sample], clean: Tensor) -> Iterator[tuple[Sample, ...]]:
        """Runs of samples of one structure, as many at a time as memory allows."""
        for _, same in groupby(samples, key=lambda sample: (len(sample.frames), sample.windows)):
            alike = tuple(same)
            sample_bytes = 3 * 4 * clean[:, 0].numel() * len(alike[0].frames)
            size = max(1, _BATCH_BYTES // sample_bytes)
            for start in range(0, len(alike), size):
                yield alike[start : start + size]

    def _paste(
        self, pictures: list[Picture], frames: list[list[int]], crafted: Tensor, clean: Tensor
    ) -> None:
        """Put the crafted levels (B, 3, F, rows, columns) into copies of the pictures that they belong to."""
        rows, columns = self.scorer.preprocessing.window
        # (B, 3, F, H, W) -> (B, F, H, W, 3)
        levels = crafted.permute(0, 2, 3, 4, 1).cpu().numpy()
        originals = clean.permute(0, 2, 3, 4, 1).cpu().numpy()
        for sample, positions in enumerate(frames):
            for index, position in enumerate(positions):
                picture = pictures[position].copy()
                picture[rows, columns] = self.bounds.clamp(levels[sample, index], originals[sample, index])
                pictures[position] = picture
