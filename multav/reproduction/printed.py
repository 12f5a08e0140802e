"""Table 1 as the paper prints it: accuracies in per cent on the 3,783 test videos of UCF101, split 1. Torch-free.

Source: Lo & Patel, Multiplicative Adversarial Videos, Table 1; facts and figures alone.
"""

from typing import Final, Literal

Column = Literal["linf", "l2", "roa", "af", "spa"]
NetworkKey = Literal["r18", "r18-3d", "r18-2d"]
Training = Literal["clean", "mult", "add"]

COLUMNS: Final[tuple[Column, ...]] = ("linf", "l2", "roa", "af", "spa")
NETWORKS: Final[dict[NetworkKey, str]] = {
    "r18": "3D ResNet-18",
    "r18-3d": "3D ResNet-18 + 3D Denoise",
    "r18-2d": "3D ResNet-18 + 2D Denoise",
}
VIDEOS: Final = 3783
CLEAN: Final[dict[NetworkKey, float]] = {"r18": 76.90, "r18-3d": 70.82, "r18-2d": 69.47}
"""Accuracy of the clean model on clean videos."""

UNDER_ATTACK: Final[dict[tuple[NetworkKey, Training], tuple[float, ...]]] = {
    ("r18", "clean"): (7.19, 2.67, 2.30, 0.26, 4.02),
    ("r18", "mult"): (47.00, 16.23, 44.12, 66.35, 55.54),
    ("r18", "add"): (41.61, 9.94, 42.45, 51.23, 54.74),
    ("r18-3d", "mult"): (42.69, 14.75, 39.31, 60.53, 48.37),
    ("r18-3d", "add"): (31.46, 9.15, 37.72, 48.98, 48.06),
    ("r18-2d", "mult"): (41.87, 14.04, 40.34, 58.97, 47.48),
    ("r18-2d", "add"): (30.16, 10.23, 39.65, 47.82, 47.18),
}
"""Accuracy under each column's multiplicative attack, in the order of `COLUMNS`; the paper attacks one clean model."""


def printed(network: NetworkKey, training: Training, column: Column) -> float | None:
    """The printed figure, if there is one."""
    row = UNDER_ATTACK.get((network, training))
    return None if row is None else row[COLUMNS.index(column)]
