"""Which classes are taken for which, and how each class fares."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.integer[Any]]


def confusion(labels: Indices, predicted: Indices, classes: int) -> NDArray[np.int64]:
    """(classes, classes): how many clips of the row's class were taken for the column's.

    `labels` and `predicted` are (clips,) in [0, classes). Raises `ValueError` for an index outside.
    """
    for indices in (labels, predicted):
        if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < classes:
            raise ValueError(f"there are {classes} classes, counted from 0")
    flat = labels.astype(np.int64) * classes + predicted
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def entries(table: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """All (class, taken for, clips) of a confusion table that are not 0, most clips first."""
    rows, columns = np.nonzero(table)
    counts = table[rows, columns]
    order = np.lexsort((columns, rows, -counts))
    return [(int(rows[k]), int(columns[k]), int(counts[k])) for k in order]


def hits_per_class(labels: Indices, hits: NDArray[np.bool_], classes: int) -> tuple[Indices, Indices]:
    """(classes,) each: how many clips of a class are `hits`, and how many clips it has."""
    return np.bincount(labels[hits], minlength=classes), np.bincount(labels, minlength=classes)
