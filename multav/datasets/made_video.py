"""A listed clip that is made by a formula when it is asked for. Torch-free."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multav.datasets.listing import ListedVideo


@dataclass(frozen=True)
class MadeVideo(ListedVideo):
    """A video without a file."""

    @property
    @abstractmethod
    def formula(self) -> str:
        """Everything that the pictures depend on, in one line: equal formulas make equal pictures."""

    @abstractmethod
    def pictures(self) -> NDArray[np.uint8]:
        """The frames, (T, H, W, 3) RGB."""
