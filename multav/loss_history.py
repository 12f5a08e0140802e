"""How an attack's loss and its confidence went, step by step, summed up over any number of clips."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Curve = NDArray[np.float64]


class LossHistory:
    """Running mean, lowest and highest loss before each step and after the last; memory does not grow with clips.

    A curve is (steps + 1,) float64. `confidence` is that in the attacked label, exp(-loss): what a cross-entropy
    says, and no other loss.
    """

    def __init__(self, steps: int) -> None:
        self.clips = 0
        self._sums: NDArray[np.float64] = np.zeros((2, steps + 1))
        self._lowest: Curve = np.full(steps + 1, np.inf)
        self._highest: Curve = np.full(steps + 1, -np.inf)

    @classmethod
    def of(cls, losses: NDArray[Any] | Tensor) -> Self:
        """The history of `losses` (steps + 1, B), or (steps + 1,) of one clip. Raises `ValueError`."""
        array = losses.detach().double().cpu().numpy() if isinstance(losses, Tensor) else np.asarray(losses)
        columns = array[:, None] if array.ndim == 1 else array
        if columns.ndim != 2 or 0 in columns.shape:
            raise ValueError(f"losses are {tuple(losses.shape)}; expected (steps + 1, B)")
        history = cls(len(columns) - 1)
        history.add(columns)
        return history

    def add(self, losses: NDArray[Any] | Tensor) -> None:
        """Count the losses (steps + 1, B) of B more clips."""
        array = losses.detach().double().cpu().numpy() if isinstance(losses, Tensor) else losses
        if array.shape[1] == 0:
            return
        self.clips += array.shape[1]
        self._sums += array.sum(axis=1), np.exp(-array).sum(axis=1)
        self._lowest = np.minimum(self._lowest, array.min(axis=1))
        self._highest = np.maximum(self._highest, array.max(axis=1))

    @property
    def finite(self) -> bool:
        """Whether there are losses, and each is a number: those of a model that answers NaN are none."""
        return self.clips > 0 and bool(np.isfinite((*self.loss_range, self._sums[0])).all())

    @property
    def loss(self) -> Curve:
        """The mean loss."""
        mean: Curve = self._sums[0] / self.clips
        return mean

    @property
    def loss_range(self) -> tuple[Curve, Curve]:
        """The lowest and the highest loss of any clip."""
        return self._lowest, self._highest

    @property
    def confidence(self) -> Curve:
        """The mean of exp(-loss), which is not exp(-mean loss)."""
        mean: Curve = self._sums[1] / self.clips
        return mean

    @property
    def confidence_range(self) -> tuple[Curve, Curve]:
        """The lowest and the highest confidence of any clip."""
        return np.exp(-self._highest), np.exp(-self._lowest)
