"""What a training leaves that ends before its end: the weights of its last checkpoint that are worth most."""

from dataclasses import dataclass
from typing import Literal, Self

from torch import Tensor

from multav.errors import BadCheckpoint
from multav.names import LONGEST_NAME
from multav.training.checkpoint import Checkpoint
from multav.training.curve import CurvePoint
from multav.training.kept_weights import KeptWeights


@dataclass(frozen=True)
class LeftWeights:
    """`tensors` are a state dict, as it was behind `step`; `look` says how it did on the validation clips, where they
    were looked at.
    """

    tensors: dict[str, Tensor]
    step: int
    look: CurvePoint | None

    def name(self, training: str) -> str:
        """What they are called: not what the model is that the `training` would have made, which may yet be made."""
        ending = f"-step-{self.step}"
        return training[: LONGEST_NAME - len(ending)] + ending

    @classmethod
    def of(cls, checkpoint: Checkpoint, select: Literal["best", "last"]) -> Self:
        """Those of the best look so far where the best are asked for, else of the running average, else those trained.

        Raises `BadCheckpoint` where there are none of these.
        """
        try:
            step = int(checkpoint.rest["trainer"]["step"])
            kept = KeptWeights(select)
            kept.restore(checkpoint.tensors, checkpoint.rest["course"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadCheckpoint(f"the checkpoint is of no training: {error!r:.300}") from error
        if kept.look is not None and kept.tensors and select == "best":
            return cls(kept.tensors, kept.look.step, kept.look)
        for prefix in ("average/", "model/"):
            found = {
                name.removeprefix(prefix): tensor
                for name, tensor in checkpoint.tensors.items()
                if name.startswith(prefix)
            }
            if found:
                return cls(found, step, None)
        raise BadCheckpoint("the checkpoint of the training holds no weights")
