"""What a model says of a whole video: the mean of its windows' softmax."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multav.grid import levels
from multav.preprocessing import Preprocessing
from multav.video.picture import Picture
from multav.windows import Segment


@dataclass(frozen=True)
class Prediction:
    """Mean class probabilities (classes,) of a video, float64 on the CPU, with the class names."""

    probabilities: Tensor
    classes: tuple[str, ...]

    @property
    def index(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())

    def as_dict(self) -> dict[str, Any]:
        """`label`, `index`, `confidence` and `top5`, as results show them."""
        top = self.probabilities.topk(min(5, len(self.classes)))
        rows = [
            {"label": self.classes[index], "index": index, "confidence": round(confidence, 6)}
            for confidence, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        ]
        return {**rows[0], "top5": rows}


@dataclass
class Scorer:
    """A model in eval mode together with the preprocessing that its source pictures need."""

    model: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    device: torch.device

    def seen(self, pictures: Sequence[Picture]) -> Tensor:
        """The part of the pictures that the model sees, as (3, frames, rows, columns) on the device.

        uint8 levels, or int32 codes of deeper pictures.
        """
        rows, columns = self.preprocessing.window
        stacked = np.stack([picture[rows, columns] for picture in pictures])
        return levels(stacked).to(self.device).permute(3, 0, 1, 2).contiguous()

    def logits(self, clips: Tensor) -> Tensor:
        """Logits (B, classes) in float32 of preprocessed clips (B, 3, T, height, width)."""
        logits: Tensor = self.model(clips)
        return logits.float()


class RunningPrediction:
    """Collects the windows of a video segment by segment; `peak` is the value of 1.0 in its pictures."""

    def __init__(self, scorer: Scorer, peak: int = 255) -> None:
        self._scorer = scorer
        self._peak = peak
        self._sum = torch.zeros(len(scorer.classes), dtype=torch.float64)
        self.windows = 0

    def add(self, segment: Segment[Any], pictures: Sequence[Picture]) -> None:
        """Score the windows of `segment` on `pictures` (its own, or crafted ones in their place)."""
        if not segment.samples:
            return
        scorer = self._scorer
        with torch.no_grad():
            small = scorer.preprocessing.apply(scorer.seen(pictures).float().div_(self._peak))
            # (3, frames, height, width) -> (windows, 3, T, height, width)
            clips = torch.stack([small[:, positions] for positions in window_positions(segment)])
            self._sum += scorer.logits(clips).softmax(1).sum(0).double().cpu()
        self.windows += len(clips)

    def result(self) -> Prediction:
        """The mean over the windows so far."""
        return Prediction(self._sum / max(self.windows, 1), self._scorer.classes)


def window_positions(segment: Segment[Any]) -> list[list[int]]:
    """For each window of the segment, in order, the positions of its pictures in the segment."""
    return [[sample.frames[at] for at in window] for sample in segment.samples for window in sample.windows]
