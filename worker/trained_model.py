"""The file of a model that a training made: its weights as they are, and a card that says where they come from."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from models.checkpoints import save
from models.counts import counts
from models.pixel_classifier import PixelClassifier
from multav.model_card import ModelCard
from multav.training.curve import CurvePoint
from multav.training.request import Mixture, TrainingRequest


@dataclass(frozen=True)
class TrainedModel:
    """What the card of a training's model is made of. `licence` is that of the weights it started from."""

    job_id: str
    request: TrainingRequest
    licence: str

    def write(
        self, model: nn.Module, look: CurvePoint | None, path: Path, *, name: str | None = None
    ) -> ModelCard:
        """Write `model` (a `PixelClassifier`) in float32, the numbers that `look` speaks of; its card.

        Its `name` is that which the training asks for, if no other is given.
        """
        import torch

        assert isinstance(model, PixelClassifier), "what a training begins with"
        geometry = model.geometry
        shape = (1, 3, geometry.frames, geometry.height, geometry.width)
        found = counts(model.backbone, shape)
        trained_on = f"dataset {self.request.dataset}"
        card = ModelCard(
            name=name or str(self.request.name),
            architecture=model.card.architecture,
            arguments=model.card.arguments,
            classes=model.classes,
            geometry=geometry,
            description=f"{self._start} trained {self._against} on {trained_on}",
            licence=self.licence,
            provenance=f"POST /v1/trainings {json.dumps(asked(self.request), separators=(',', ':'))}",
            parameters=found.parameters,
            macs=found.multiply_adds,
            metrics={} if look is None else _metrics(look),
            training_job=self.job_id,
            assumed=model.card.assumed,
        )
        save(PixelClassifier(model.backbone, card), path, dtype=torch.float32)
        return card

    @property
    def _start(self) -> str:
        start = self.request.start
        if start.model is None:
            return f"{start.architecture} from random weights,"
        return f"{start.model}{' with a new last layer' if start.head == 'new' else ''},"

    @property
    def _against(self) -> str:
        attack = self.request.attack
        if attack is None:
            return "on clean clips"
        against = [f"{each.kind} at {each.epsilon:.6g}" for each in self.request.attacks]
        joined = {"random": " or ", "worst": " and "}[attack.choice] if isinstance(attack, Mixture) else ""
        return f"against {joined.join(against)} ({self.request.method})"


def asked(request: TrainingRequest) -> dict[str, object]:
    """What the request says beyond the defaults."""
    whole = request.model_dump(mode="json")
    defaults = TrainingRequest().model_dump(mode="json")
    return {name: value for name, value in whole.items() if value != defaults[name]}


def _metrics(look: CurvePoint) -> dict[str, float]:
    found = {"validation, clean": look.clean_accuracy, "validation, under attack": look.robust_accuracy}
    return {name: round(value, 6) for name, value in found.items() if value is not None}
