"""How much an attack changed a layer's feature maps."""

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor


@dataclass(frozen=True)
class FeatureChange:
    """`relative` is ||adversarial - clean|| / ||clean|| over the whole layer (None where all clean maps are zero).

    `channel` is the one whose map changed most, in the Euclidean norm.
    """

    shape: tuple[int, ...]
    relative: float | None
    channel: int

    @classmethod
    def of(cls, clean: Tensor, adversarial: Tensor) -> Self:
        """From the maps (channels, T, H, W) of one clip."""
        difference = (adversarial.double() - clean.double()).flatten(1)
        norm = float(clean.double().norm())
        relative = float(difference.norm()) / norm if norm else None
        return cls(tuple(clean.shape), relative, int(difference.norm(dim=1).argmax()))

    def as_dict(self) -> dict[str, Any]:
        """As results show it."""
        relative = None if self.relative is None else round(self.relative, 6)
        return {"shape": list(self.shape), "relative_change": relative, "most_changed_channel": self.channel}
