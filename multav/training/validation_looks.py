"""Looks at the validation clips while a training runs, each rank at its share of them."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any, Final

from torch import Tensor, nn

from multav.datasets.listing import ListedVideo
from multav.training.bad_videos import nothing_to_look_at
from multav.training.batches import Batches
from multav.training.curve import CurvePoint
from multav.training.look import Look, look
from multav.training.ranks import Ranks
from multav.training.request import TrainingRequest
from multav.training.videos import TrainingVideos, compared_with

_LOOKED_TOGETHER: Final = 16


class ValidationLooks:
    """Looks at weights on a copy of the `model`, `shown`, so that those that are trained are left alone.

    Validation clips come from `batches`, which are not those of the training clips, `trained_on`: videos of two
    datasets may have the same names.
    """

    def __init__(
        self,
        model: nn.Module,
        request: TrainingRequest,
        videos: TrainingVideos,
        *,
        batches: Batches,
        trained_on: Batches,
        check: Callable[[], None],
        ranks: Ranks,
    ) -> None:
        self.shown = copy.deepcopy(model)
        self._request, self._videos = request, videos
        self._batches, self._trained_on = batches, trained_on
        self._check, self._ranks = check, ranks

    def look(self, tensors: Mapping[str, Tensor], step: int, epoch: float) -> CurvePoint:
        """How a state dict, that of step number `step`, does on the validation clips and on some training clips.

        Raises `BadDataset` where no validation video gives a clip, and what `check` raises.
        """
        self.shown.load_state_dict(tensors)
        self.shown.eval()
        validation = self._at(self._batches, self._videos.validation)
        some = compared_with(len(self._videos.validation), len(self._videos.train))
        train = self._at(self._trained_on, self._videos.train[:some])
        if validation is None:
            raise nothing_to_look_at(self._batches.bad)
        attacked = bool(self._request.validation_attacks)
        return CurvePoint(
            "look",
            step,
            epoch,
            loss=validation.loss,
            clean_accuracy=validation.clean_accuracy,
            robust_accuracy=validation.robust_accuracy if attacked else None,
            train_clean_accuracy=None if train is None else train.clean_accuracy,
            train_robust_accuracy=train.robust_accuracy if train is not None and attacked else None,
        )

    def _at(self, batches: Batches, videos: Sequence[ListedVideo]) -> Look | None:
        """At all videos; each rank looks at its share of them."""

        def look_at_share() -> tuple[None, tuple[dict[str, Any] | None, dict[str, str]]]:
            own = videos[self._ranks.rank :: self._ranks.size]
            with closing(batches.of(own, _LOOKED_TOGETHER)) as source:
                found = look(
                    self.shown,
                    ((each.clips, each.labels, each.numbers) for each in source if each.numbers),
                    self._request.validation_attacks,
                    seed=self._request.seed,
                    precision=self._request.precision,
                    check=self._check,
                )
            return None, (None if found is None else asdict(found), batches.bad)

        _, told = self._ranks.together(look_at_share)
        for _, bad in told:
            batches.bad.update(bad)
        return Look.of_all(Look(**found) for found, _ in told if found is not None)
