"""A loss of what a model says of clips, and its gradient by them, in pieces that fit into memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

import torch
from torch import Tensor

from multav.attacks.spec import LossName
from multav.captured_gradients import Pass
from multav.free_memory import free_bytes, was_refused
from multav.losses import LOSSES, divergence, short_of_target, toward_targets
from multav.objective import Evaluation
from multav.prepared_model import GradientMeans

# A network that keeps more than this many times its input is looked at before many clips are put through it.
_LARGE: Final = 200
# Of the free memory, what a piece may take; the rest is for what the backward pass makes on its way.
_SHARE: Final = 0.5

Parts = TypeVar("Parts", bound=tuple[Tensor, ...])


@dataclass
class ClipLoss:
    """`loss` of `model`'s logits, sample by sample.

    With `targeted` labels are classes to reach, and the loss is for descending. The targets of "divergence" are
    log-probabilities (B, classes), those of other losses classes to leave the labels for.

    `model` maps (B, 3, T, H, W) to
    (B, classes); it gets clips of `dtype` (None: as they are). It must have a class for the `highest` label. `autocast`
    is what gradients are computed in, None for the model's own precision; without a gradient it is always the model's
    own. `means` is what they are computed with.

    Clips go through the model together as far as memory allows, of which a device has `free` bytes: the size of a
    piece is planned from what one clip keeps for its gradient, and halved where memory runs out all the same.
    """

    model: Callable[[Tensor], Tensor]
    loss: LossName | Literal["divergence"]
    targeted: bool = False
    dtype: torch.dtype | None = None
    autocast: torch.dtype | None = None
    means: GradientMeans = field(default_factory=GradientMeans)
    highest: int = 0
    free: Callable[[torch.device], int | None] = free_bytes
    _looked_at: int = field(default=0, init=False)
    _piece: int | None = field(default=None, init=False)

    def gradient(self, clips: Tensor, labels: Tensor, targets: Tensor | None = None) -> Evaluation:
        """Losses, logits, and the gradient of the summed losses by `clips`.

        `labels` are int64 (B,), as are `targets` but those of "divergence"; with targets the labels are to be left for
        them.
        """

        def evaluate(part: slice) -> tuple[Tensor, ...]:
            inputs = tuple(tensor[part] for tensor in (clips, labels, targets) if tensor is not None)
            return self._recorded("gradient", self._pass, inputs) or self._pass(*inputs)

        if len(clips) > self._looked_at:
            self._looked_at = len(clips)
            planned = self._planned(clips, labels, targets)
            if planned < len(clips):
                self._piece = min(planned, self._piece or planned)
        return Evaluation(*self._in_pieces(evaluate, len(clips)))

    def score(self, clips: Tensor, labels: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Losses (B,) and logits (B, classes), without a gradient."""

        def evaluate(part: slice) -> tuple[Tensor, Tensor]:
            inputs = tuple(tensor[part] for tensor in (clips, labels, targets) if tensor is not None)
            losses, logits = self._recorded("score", self._look, inputs) or self._look(*inputs)
            return losses, logits

        return self._in_pieces(evaluate, len(clips))

    def _look(self, clips: Tensor, labels: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Losses and logits of one piece."""
        # Not inference mode, which is no faster here: its tensors could not enter the caller's autograd.
        with torch.no_grad():
            return self._losses(self.model, clips, labels, targets, None)

    def _pass(
        self, clips: Tensor, labels: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, logits and gradient of one piece."""
        leaf = clips.detach().requires_grad_()
        with torch.enable_grad():
            losses, logits = self._losses_for_gradients(leaf, labels, targets)
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), logits.detach(), gradient

    def _recorded(self, name: str, run: Pass, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """What `run` gives, from a recording where there is one."""
        if self.means.captured is None:
            return None
        key = (name, self.loss, self.targeted, self.dtype, self.autocast)
        return self.means.captured.outputs(
            key, run, inputs, fits=lambda outputs: self.highest < outputs[1].shape[1]
        )

    def _losses_for_gradients(
        self, clips: Tensor, labels: Tensor, targets: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return self._losses(self.means.twin or self.model, clips, labels, targets, self.autocast)

    def _losses(
        self,
        model: Callable[[Tensor], Tensor],
        clips: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        autocast: torch.dtype | None,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(clips.device.type, dtype=autocast, enabled=autocast is not None):
            logits = model(clips if self.dtype is None else clips.to(self.dtype))
        if not isinstance(logits, Tensor):
            raise TypeError(f"the model answers a {type(logits).__name__}; expected logits (B, classes)")
        if logits.ndim != 2 or len(logits) != len(clips):
            raise ValueError(
                f"the model answers {tuple(logits.shape)} to {len(clips)} clips; expected ({len(clips)}, classes)"
            )
        if self.highest >= logits.shape[1]:
            raise ValueError(f"label {self.highest} is out of range: the model has {logits.shape[1]} classes")
        # Cross-entropy of halves loses the small gradients.
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if autocast is not None:
            logits = precise
        if self.loss == "divergence":
            assert targets is not None, "the answers to be led away from"
            return divergence(precise, targets), logits
        if targets is not None:
            return toward_targets(precise, labels, targets), logits
        if self.loss == "dlr" and self.targeted:
            return short_of_target(precise, labels), logits
        return LOSSES[self.loss](precise, labels), logits

    def _in_pieces(self, evaluate: Callable[[slice], Parts], samples: int) -> Parts:
        """The parts of all samples; each piece half as large as one for which memory ran out."""
        done: list[Parts] = []
        start = 0
        while start < samples:
            size = min(self._piece or samples, samples - start)
            try:
                done.append(evaluate(slice(start, start + size)))
            except (RuntimeError, MemoryError) as error:
                if size == 1 or not was_refused(error):
                    raise
            else:
                start += size
                continue
            # Here the failed piece's tensors are gone: its frames went with the exception. Recordings go first.
            if self.means.captured is None or not self.means.captured.forget():
                self._piece = -(-size // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        if len(done) == 1:
            return done[0]
        return type(done[0])(torch.cat(parts) for parts in zip(*done, strict=True))

    def _planned(self, clips: Tensor, labels: Tensor, targets: Tensor | None) -> int:
        """How many clips to put through the model at once."""
        free = self.free(clips.device)
        samples, size = len(clips), clips[0].nbytes
        if free is None or samples == 1 or samples * size * _LARGE < free * _SHARE:
            return samples
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            # Not the storage's size: one clip is a part of its batch's.
            place = tensor.untyped_storage().data_ptr()
            kept[place] = max(kept.get(place, 0), tensor.nbytes)
            return tensor

        one = (clips[:1].detach().requires_grad_(), labels[:1], None if targets is None else targets[:1])
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            # Named, so that nothing that it keeps is freed and its place counted twice.
            losses = self._losses_for_gradients(*one)
            total = sum(kept.values())
        del losses
        return max(1, min(samples, int(free * _SHARE) // max(total, size)))
