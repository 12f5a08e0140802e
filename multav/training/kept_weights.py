"""The weights that a training would end with: those of its best look at the validation clips, or of its last one."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final, Literal

from torch import Tensor

from multav.training.curve import CurvePoint

# Before the names of these weights in a checkpoint.
_PREFIX: Final = "kept/"


class KeptWeights:
    """`tensors` are a state dict on the CPU, and `look` is what was seen of them; `best` is the best look so far, and
    `unbettered` how many there were since.
    """

    def __init__(self, select: Literal["best", "last"]) -> None:
        self._select = select
        self.unbettered = 0
        self.best: CurvePoint | None = None
        self.look: CurvePoint | None = None
        self.tensors: dict[str, Tensor] = {}

    def judge(self, point: CurvePoint, tensors: Mapping[str, Tensor]) -> CurvePoint:
        """Keep the weights if they are the best so far, or the last where these are asked for.

        `point` is the look at them; it comes back with a word of whether it was the best.
        """
        better = self.best is None or _merit(point) > _merit(self.best)
        point = replace(point, best=better)
        self.unbettered = 0 if better else self.unbettered + 1
        if better:
            self.best = point
        if better or self._select == "last":
            self.look = point
            self.tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        return point

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and the rest as JSON, as a checkpoint has them."""
        tensors = {f"{_PREFIX}{name}": tensor for name, tensor in self.tensors.items()}
        return tensors, {
            "unbettered": self.unbettered,
            "best": None if self.best is None else asdict(self.best),
            "kept": None if self.look is None else asdict(self.look),
        }

    def restore(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
        """Go on from a `state`, among whatever else a checkpoint holds."""
        self.tensors = {
            name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)
        }
        self.unbettered = rest["unbettered"]
        self.best, self.look = (
            None if rest[name] is None else CurvePoint(**rest[name]) for name in ("best", "kept")
        )


def _merit(point: CurvePoint) -> tuple[float, float]:
    """Accuracy under attack counts before the clean one."""
    clean = point.clean_accuracy or 0.0
    return (clean if point.robust_accuracy is None else point.robust_accuracy, clean)
