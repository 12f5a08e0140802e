"""Attacking one segment of a video on its source pictures, through the preprocessing, down to a file's whole values."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import count, groupby
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multav.ascent import Ascent, ascend
from multav.attacks.regions import Region, origin
from multav.attacks.spec import AttackSpec
from multav.channel import Channel, Kept, Through
from multav.clip_loss import ClipLoss
from multav.losses import likeliest_others
from multav.objective import Evaluation
from multav.prediction import Scorer
from multav.prepared_model import GradientMeans
from multav.preprocessing import Preprocessing
from multav.quantise import LevelBounds, levels_toward
from multav.video.picture import Picture
from multav.windows import Sample, Segment

Passage = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Pictures (F, H, W, 3) in display order -> as they are after an encoder."""

# Clean, adversarial and gradient values of the samples that are attacked at once stay within this.
_BATCH_BYTES = 2**30
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CraftedSegment:
    """A segment's crafted pictures, and how the attack went.

    `pictures` are (H, W, 3) on the grid; at 8 bits those that no sample holds are the source's own arrays. `losses` is
    (steps + 1, samples): the mean loss of a sample's windows before each step and after the last. `clips` holds
    for each window the float32 adversarial pictures (3, T, rows, columns) of the seen part. `bound_respected`: of
    each sample's pictures as a whole. `gradient_evaluations`: how many windows' gradients were computed.
    """

    pictures: tuple[Picture, ...]
    losses: Tensor
    clips: tuple[Tensor, ...]
    bound_respected: bool
    gradient_evaluations: int


@dataclass
class Tally:
    """How many gradients were computed."""

    count: int = 0


@dataclass
class WindowObjective:
    """The loss that the attack climbs: the mean loss of a sample's windows, by its source pictures.

    Called with (B, 3, F, rows, columns) in [0, 1]; all B samples share the same `windows`. With `targets` (B,) the
    windows are to leave for those classes. `tally` counts every window's gradient.
    """

    preprocessing: Preprocessing
    windows: tuple[tuple[int, ...], ...]
    label: int
    loss: ClipLoss
    targets: Tensor | None = None
    tally: Tally = field(default_factory=Tally)
    _gradient: Tensor | None = None

    def __call__(self, clips: Tensor) -> Evaluation:
        """Losses (B,), logits (B, classes) and the gradient of the summed losses by `clips`."""
        self.tally.count += len(clips) * len(self.windows)
        # Detached: without resizing it is the loop's own buffer, whose history must not grow.
        small = self.preprocessing.apply(clips).detach().requires_grad_()
        with torch.enable_grad():
            stacked = self._stacked(small)
        found = self.loss.gradient(stacked.detach(), *self._classes(small))
        (by_small,) = torch.autograd.grad(stacked, small, found.gradient.div_(len(self.windows)))
        if self._gradient is None or self._gradient.shape != clips.shape:
            self._gradient = torch.empty_like(clips)
        gradient = self.preprocessing.adjoint(by_small, out=self._gradient)
        return Evaluation(*self._means(found.losses, found.logits), gradient)

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (B,) and logits (B, classes), without a gradient."""
        with torch.no_grad():
            small = self.preprocessing.apply(clips)
            return self._means(*self.loss.score(self._stacked(small), *self._classes(small)))

    def fooled(self, logits: Tensor) -> Tensor:
        """Whether the windows' mean logits leave the label, (B,)."""
        return logits.argmax(1) != self.label

    def select(self, samples: Tensor) -> Self:
        """All samples share windows and label; it knows the pictures by being called with them."""
        return self if self.targets is None else replace(self, targets=self.targets[samples])

    def rivals(self, clips: Tensor, most: int) -> Sequence[Self]:
        """See `Objective`: the likeliest of the windows' mean logits."""
        logits = self.score(clips)[1]
        labels = torch.full((len(logits),), self.label, device=logits.device)
        return [replace(self, targets=targets) for targets in likeliest_others(logits, labels, most)]

    def _stacked(self, small: Tensor) -> Tensor:
        """(B, 3, F, h, w) -> (B * windows, 3, T, h, w)."""
        return torch.stack([small[:, :, list(window)] for window in self.windows], dim=1).flatten(0, 1)

    def _classes(self, small: Tensor) -> tuple[Tensor, Tensor | None]:
        """Labels and targets of all windows, (B * windows,)."""
        count = len(self.windows)
        labels = torch.full((len(small) * count,), self.label, device=small.device)
        return labels, None if self.targets is None else self.targets.repeat_interleave(count)

    def _means(self, losses: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Over the windows of each sample: (B,) and (B, classes)."""
        shape = (-1, len(self.windows))
        return losses.reshape(shape).mean(1), logits.reshape(*shape, logits.shape[1]).mean(1)


@dataclass(frozen=True)
class Crafter:
    """An attack bound to a model, a label and a seed, ready for the segments of one video.

    `region` is the attack's own, enlarged from the model's pictures to those that are attacked. `bounds` are on the
    grid that is crafted for. With `levels_in_loop` the attack sees the rounding to it, with `passages` (8 bits only)
    the encoder as well. `autocast` is what gradients are computed in, None for the model's own precision.
    """

    scorer: Scorer
    attack: AttackSpec
    region: Region
    bounds: LevelBounds
    label: int
    seed: int
    passages: tuple[Passage, ...] = ()
    levels_in_loop: bool = False
    autocast: torch.dtype | None = None

    def craft(
        self, segment: Segment[Picture], *, on_step: Callable[[float], None], keep_clips: bool
    ) -> CraftedSegment:
        """Attack every sample of `segment`.

        `on_step` is called before each gradient step with the share of the steps that have been taken (of the most
        that there can be), and may raise.
        """
        grid = self.bounds.grid
        pictures = [grid.unmoved(picture) for picture in segment.pictures]
        losses: list[Tensor] = []
        clips: list[Tensor] = []
        respected, tally = True, Tally()
        if segment.samples:
            clean = self.scorer.seen(segment.pictures)
            first = segment.first_window
            batches = tuple(self._batches(segment.samples, clean))
            begun, most = count(), len(batches) * self.attack.most_steps
            for samples in batches:
                frames = [list(sample.frames) for sample in samples]
                # (3, frames, H, W) -> (B, 3, F, H, W)
                levels = torch.stack([clean[:, positions] for positions in frames])
                attack = self._attack_on(samples[0])
                ascent = self._ascent(
                    attack,
                    WindowObjective(
                        self.scorer.preprocessing, samples[0].windows, self.label, self._loss, tally=tally
                    ),
                    levels,
                    self._channels(pictures, frames, levels),
                    first_sample=first,
                    on_step=lambda _: on_step(next(begun) / most),
                )
                first += sum(len(sample.windows) for sample in samples)
                losses.append(ascent.losses.cpu())
                if keep_clips:
                    clips += [
                        clip[:, list(window)].cpu() for clip in ascent.clips for window in samples[0].windows
                    ]
                crafted = self._allowed(levels_toward(ascent.clips, levels, grid), levels, ascent.mask)
                respected = respected and self._within(attack, crafted, levels, ascent.mask)
                self._paste(pictures, frames, crafted)
        return CraftedSegment(
            tuple(pictures),
            torch.cat(losses, dim=1) if losses else torch.empty(self.attack.steps + 1, 0),
            tuple(clips),
            respected,
            tally.count,
        )

    @cached_property
    def _loss(self) -> ClipLoss:
        """One for all segments: what it has learnt of the memory holds for the next."""
        return ClipLoss(
            self.scorer.model,
            self.attack.loss,
            targeted=self.attack.targeted,
            autocast=self.autocast,
            means=GradientMeans.of(self.scorer.model, self.autocast, self.scorer.device),
        )

    def keeps_bound(self, segment: Segment[Any], clean: Sequence[Picture], other: Sequence[Picture]) -> bool:
        """Whether `other` pictures in the place of the segment's `clean` ones keep a bound on whole samples."""
        if self.attack.ball.elementwise or not segment.samples:
            return True
        levels, changed = self.scorer.seen(clean), self.scorer.seen(other)
        return all(
            self._within(
                self._attack_on(sample),
                changed[None, :, list(sample.frames)],
                levels[None, :, list(sample.frames)],
                None,
            )
            for sample in segment.samples
        )

    def _attack_on(self, sample: Sample) -> AttackSpec:
        """The attack on a sample's source pictures, which have many values for each that the model sees.

        Bounds are on all pictures of a sample together, so that its windows share them.
        """
        maps = self.scorer.preprocessing
        source = len(sample.frames) * maps.rows.shape[1] * maps.columns.shape[1]
        model = len(sample.windows[0]) * maps.rows.shape[0] * maps.columns.shape[0]
        return self.attack.enlarged(source / model)

    def _ascent(
        self,
        attack: AttackSpec,
        objective: WindowObjective,
        levels: Tensor,
        channels: tuple[Channel, ...],
        *,
        first_sample: int,
        on_step: Callable[[int], None],
    ) -> Ascent:
        """The attack on clean `levels`; with channels its best point at their far end."""
        clips = levels.float().div_(self.bounds.grid.clean_peak)
        kept = Kept(attack.targeted)

        def step_begins(step: int) -> None:
            if step == 0:
                kept.forget()
            on_step(step)

        ascent = ascend(
            Through(objective, channels, kept) if channels else objective,
            clips,
            attack,
            seed=self.seed,
            first_sample=first_sample,
            on_step=step_begins,
            region=self.region,
        )
        if kept.clips is None:
            return ascent
        losses = torch.cat([ascent.losses[:-1], kept.losses[None]])
        return replace(ascent, clips=kept.clips, logits=kept.logits, losses=losses)

    def _channels(
        self, pictures: list[Picture], frames: list[list[int]], clean: Tensor
    ) -> tuple[Channel, ...]:
        """What may lie between the clips and the model, as far as the attack takes it along."""

        def arrive(passage: Passage | None, clips: Tensor) -> Tensor:
            # Without the region's mask: outside nothing moves, so that only replaced pixels could be clamped wrong.
            crafted = levels_toward(clips, clean, self.bounds.grid)
            if self.region.level is None:
                crafted = self._allowed(crafted, clean, None)
            if passage is not None:
                made = list(pictures)
                self._paste(made, frames, crafted)
                seen = self.scorer.seen(list(passage(np.stack(made))))
                crafted = torch.stack([seen[:, positions] for positions in frames])
            return crafted.float().div_(self.bounds.grid.peak)

        if self.passages:
            return tuple(partial(arrive, passage) for passage in self.passages)
        return (partial(arrive, None),) if self.levels_in_loop else ()

    def _allowed(self, crafted: Tensor, clean: Tensor, mask: Tensor | None) -> Tensor:
        """Crafted levels moved into what is allowed around the clean ones, (B, 3, F, rows, columns)."""
        # In numpy, whose tables are looked up by bytes as they are: torch would make an eight-byte index of each.
        within = self.bounds.clamp(crafted.cpu().numpy(), clean.cpu().numpy())
        allowed = torch.from_numpy(within).to(clean.device)
        # Outside of the region nothing has moved, and where pixels were replaced the tables are about the inside.
        return allowed if mask is None else torch.where(mask, allowed, self.bounds.grid.unmoved_tensor(clean))

    def _within(self, attack: AttackSpec, crafted: Tensor, clean: Tensor, mask: Tensor | None) -> bool:
        """Whether projecting moves nothing: for bounds on a whole sample, which no table of levels can show."""
        if attack.ball.elementwise:
            return True
        values = crafted.double() / self.bounds.grid.peak
        centre = origin(self.region, clean.double() / self.bounds.grid.clean_peak, mask)
        return bool((attack.project(values.clone(), centre) - values).abs().max() < _ROUNDING)

    def _batches(self, samples: Sequence[Sample], clean: Tensor) -> Iterator[tuple[Sample, ...]]:
        """Runs of samples of one structure, as many at a time as memory allows."""
        for _, same in groupby(samples, key=lambda sample: (len(sample.frames), sample.windows)):
            alike = tuple(same)
            sample_bytes = 3 * 4 * clean[:, 0].numel() * len(alike[0].frames)
            size = max(1, _BATCH_BYTES // sample_bytes)
            for start in range(0, len(alike), size):
                yield alike[start : start + size]

    def _paste(self, pictures: list[Picture], frames: list[list[int]], crafted: Tensor) -> None:
        """Put the crafted levels (B, 3, F, rows, columns) into copies of the pictures that they belong to."""
        rows, columns = self.scorer.preprocessing.window
        # (B, 3, F, H, W) -> (B, F, H, W, 3)
        levels = crafted.permute(0, 2, 3, 4, 1).cpu().numpy()
        for sample, positions in enumerate(frames):
            for index, position in enumerate(positions):
                picture = pictures[position].copy()
                picture[rows, columns] = levels[sample, index]
                pictures[position] = picture
