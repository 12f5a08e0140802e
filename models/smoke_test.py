"""Is this a classifier that can be attacked at all? A few passes over made-up clips, before a model is registered.

What attacks rely on: finite logits, one for each class; the same answer twice, and in a batch as alone; a gradient
that reaches the clip and is the true one. The last is measured: in float64 the loss must rise along a direction as
much as the gradient says. A detached branch or a rounding step shows there and nowhere else, since an attack on a wrong
gradient runs without complaint and reports a robustness that is not there.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from models.pixel_classifier import PixelClassifier

_STEPS: Final = (1e-7, 1e-9)
"""What a pixel moves, roughly: far below a level, and in float64 far above rounding. The smaller one is tried where
the larger disagrees: a ReLU may switch on the way."""

_LEAST_SIDE: Final = 32

_GRADIENT_TOLERANCE: Final = 1e-3
_BATCH_TOLERANCE: Final = 1e-3


@dataclass(frozen=True)
class SmokeReport:
    """What was measured; `faults` say why the model is refused, `remarks` what its user should know."""

    faults: tuple[str, ...]
    remarks: tuple[str, ...]
    largest_logit: float | None = None
    batch_difference: float | None = None
    """Largest difference of logits in a batch and alone, as a share of the largest logit."""
    gradient_norm: float | None = None
    """Of the tested loss (a fixed mix of the logits) with respect to the clip's pixels, float64."""
    frames_reached: int | None = None
    gradient_error: float | None = None
    """How far the measured rise is from what the gradient says, as a share of the larger of the two."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """For the model's card."""
        return {"passed": self.passed, **asdict(self)}


def smoke_test(classifier: PixelClassifier) -> SmokeReport:
    """Try `classifier` on clips of its own geometry; it must be in float32 and on the CPU, and is left as found.

    Takes about ten forward passes of one clip.
    """
    started = time.monotonic()
    trial = _Trial(classifier)
    with _prepared(classifier):
        try:
            trial.run()
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            if "alloc" in str(error) and "memory" in str(error):
                raise MemoryError(str(error)) from error
            trial.faults.append(f"the network cannot be run on clips of its geometry: {_first_line(error)}")
    return SmokeReport(
        tuple(trial.faults),
        tuple(trial.remarks),
        **trial.measured,
        seconds=round(time.monotonic() - started, 2),
    )


class _Trial:
    """One run; stops at the first thing that makes the rest meaningless."""

    def __init__(self, classifier: PixelClassifier) -> None:
        self._classifier = classifier
        self._generator = torch.Generator().manual_seed(0)
        self.faults: list[str] = []
        self.remarks: list[str] = []
        self.measured: dict[str, Any] = {}

    def run(self) -> None:
        shape = self._classifier.geometry
        if self._forward(self._clips(2, shape.height, shape.width)):
            # float64 costs four times as much as float32: half the picture is enough to see what is detached.
            self._backward(self._clips(1, _halved(shape.height), _halved(shape.width)))

    def _clips(self, count: int, height: int, width: int) -> Tensor:
        """Clips (count, 3, T, height, width) in [0.05, 0.95]: coarse noise, smoothed, with a little fine noise."""
        size = (self._classifier.geometry.frames, height, width)
        coarse = torch.rand(count, 3, *(max(2, side // 8) for side in size), generator=self._generator)
        smooth = functional.interpolate(coarse, size=size, mode="trilinear")
        return smooth * 0.8 + 0.05 + 0.1 * torch.rand(count, 3, *size, generator=self._generator)

    def _forward(self, clips: Tensor) -> bool:
        """Logits: as many as classes, finite, the same again, the same in a batch. False: go no further."""
        classes = len(self._classifier.classes)
        with torch.no_grad():
            together = self._classifier(clips)
            if not isinstance(together, Tensor):
                self.faults.append(
                    f"the network gives a {type(together).__name__}, not a tensor of logits (clips, classes)"
                )
                return False
            if tuple(together.shape) != (len(clips), classes):
                self.faults.append(
                    f"the network gives {tuple(together.shape)} for {len(clips)} clips, not one logit for each of the "
                    f"{classes} classes"
                )
                return False
            alone, again = (self._classifier(clips[:1]) for _ in range(2))
        if not all(bool(logits.isfinite().all()) for logits in (together, alone, again)):
            self.faults.append("the network gives logits that are not finite (NaN or infinite)")
            return False
        largest = float(together.abs().max())
        scale = largest + 1e-6
        self.measured["largest_logit"] = largest
        if float((alone - again).abs().max()) > _BATCH_TOLERANCE * scale:
            self.faults.append(
                "the same clip gives other logits when it is shown again: the network is random"
            )
            return False
        difference = float((together[:1] - alone).abs().max()) / scale
        self.measured["batch_difference"] = difference
        if difference > _BATCH_TOLERANCE:
            self.faults.append(
                "a clip's logits depend on the other clips of its batch (a batch norm without running statistics?)"
            )
        return True

    def _backward(self, clip: Tensor) -> None:
        """The gradient with respect to the clip (1, 3, T, H, W): there, finite, and true."""
        self._classifier.double()
        clip = clip.double().requires_grad_()
        loss = self._loss(clip)
        if not loss.requires_grad:
            self.faults.append("no gradient reaches the clip: something in the network is detached")
            return
        (gradient,) = torch.autograd.grad(loss, clip, allow_unused=True)
        if gradient is None:
            self.faults.append("no gradient reaches the clip: something in the network is detached")
            return
        if not bool(gradient.isfinite().all()):
            self.faults.append("the gradient with respect to the clip is not finite")
            return
        frames = gradient.abs().amax(dim=(0, 1, 3, 4))
        norm = float(gradient.norm())
        self.measured |= {"gradient_norm": norm, "frames_reached": int((frames > 0).sum())}
        if norm == 0:
            self.faults.append(
                "the gradient with respect to the clip is zero everywhere: there is nothing to attack"
            )
            return
        unreached = [index for index, reached in enumerate((frames > 0).tolist()) if not reached]
        if unreached:
            # Whether they are not looked at, or the gradient lies, the comparison tells.
            self.remarks.append(f"the network does not look at the frames {unreached} of {len(frames)}")
        self._compare(clip.detach(), loss.detach(), gradient)

    def _compare(self, clip: Tensor, loss: Tensor, gradient: Tensor) -> None:
        """Whether the loss rises along a direction as the gradient says."""
        # Along the gradient the rise is large; but what is missing from it may stand at right angles to it, and shows
        # in a random direction, where both are small: so both parts weigh the same.
        noise = torch.randn(clip.shape, generator=self._generator, dtype=clip.dtype)
        direction = gradient / gradient.norm() + noise
        said = float((gradient * direction).sum())
        for step in _STEPS:
            with torch.no_grad():
                measured = float((self._loss(clip + step * direction) - loss) / step)
            error = abs(measured - said) / max(abs(measured), abs(said))
            self.measured["gradient_error"] = error
            if error <= _GRADIENT_TOLERANCE:
                return
        words = f"the loss rises by {measured:.4g} where the gradient says {said:.4g}"
        if self._classifier.card.arguments.get("cut_shortcut_gradient") is True:
            self.remarks.append(
                f"cut_shortcut_gradient lets no gradient through the shortcuts, as asked: {words}"
            )
        else:
            self.faults.append(
                f"the gradient is masked: {words}; a part of the network is detached or not differentiable"
            )

    def _loss(self, clip: Tensor) -> Tensor:
        """A fixed mix of the logits, which no softmax can flatten."""
        logits = self._classifier(clip)
        weights = torch.linspace(-1, 1, logits.shape[1], dtype=logits.dtype).roll(logits.shape[1] // 3)
        loss: Tensor = (logits * weights).sum()
        return loss


@contextmanager
def _prepared(classifier: PixelClassifier) -> Iterator[None]:
    """In eval mode and without parameter gradients; afterwards float32 again and as it was."""
    training = {module: module.training for module in classifier.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in classifier.parameters()}
    classifier.eval().requires_grad_(False)
    try:
        yield
    finally:
        classifier.float()
        for module, was in training.items():
            module.training = was
        for parameter, was in wanted.items():
            parameter.requires_grad_(was)


def _halved(side: int) -> int:
    return side if side < 2 * _LEAST_SIDE else side // 2


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
