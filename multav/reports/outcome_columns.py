"""An audit's outcomes as arrays: one place per clip, filled from a stream of rows and never holding the rows."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from multav.audits.outcome import CLEAN, Outcome
from multav.datasets.listing import ListedVideo

Key = tuple[str, str, str]
"""Model that was attacked, cell, model that was asked."""

_WHOLE: Final = ("clean", "predicted", "gradients")
_REAL: Final = ("clean_confidence", "confidence", "size", "l2", "changed", "epsilon", "seconds")
NOTHING: Final = -1
"""The prediction of a clip that has none."""


@dataclass(frozen=True)
class Columns:
    """The outcomes of one key over all clips of an audit, in the order of its videos; every array is (clips,).

    `there`: an outcome has come. `seen`: it has come and is no problem. `clean` and `predicted` are `NOTHING` where
    there is none, reals are NaN. `right`: the prediction is the label.
    """

    there: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    attacked: NDArray[np.bool_]
    right: NDArray[np.bool_]
    clean: NDArray[np.int64]
    predicted: NDArray[np.int64]
    gradients: NDArray[np.int64]
    clean_confidence: NDArray[np.float64]
    confidence: NDArray[np.float64]
    size: NDArray[np.float64]
    l2: NDArray[np.float64]
    changed: NDArray[np.float64]
    epsilon: NDArray[np.float64]
    seconds: NDArray[np.float64]


@dataclass(frozen=True)
class NoClip:
    """A video that gave no outcome for one key, and why."""

    key: Key
    position: int
    problem: str


@dataclass
class _Rows:
    """What has come for one key, in the order in which it came."""

    position: "array[int]" = field(default_factory=lambda: array("q"))
    flags: "array[int]" = field(default_factory=lambda: array("b"))
    whole: "array[int]" = field(default_factory=lambda: array("q"))
    real: "array[float]" = field(default_factory=lambda: array("d"))


class OutcomeColumns:
    """All outcomes of an audit of `videos`, by key. `problems` has the videos that gave none."""

    def __init__(self, videos: Sequence[ListedVideo], outcomes: Iterable[Outcome]) -> None:
        """Read `outcomes` to their end.

        Raises `ValueError` for a clip that is not one of `videos` or has another label there, and for an outcome that
        comes twice, which would be counted twice.
        """
        self.labels = np.array([video.label for video in videos], dtype=np.int64)
        self.problems: list[NoClip] = []
        places = {video.index: place for place, video in enumerate(videos)}
        gathered: dict[Key, _Rows] = {}
        nan = float("nan")
        for outcome in outcomes:
            place = places.get(outcome.clip)
            if place is None or videos[place].label != outcome.label:
                raise ValueError(
                    f"an outcome of clip {outcome.clip} with label {outcome.label} fits no video of this audit"
                )
            key = (outcome.model, outcome.cell, outcome.tested_on)
            rows = gathered.setdefault(key, _Rows())
            rows.position.append(place)
            seen = outcome.problem is None and outcome.predicted is not None
            rows.flags.append(seen | outcome.attacked << 1)
            rows.whole.extend(
                (
                    NOTHING if outcome.clean is None else outcome.clean,
                    NOTHING if outcome.predicted is None else outcome.predicted,
                    outcome.gradients,
                )
            )
            rows.real.extend(
                nan if value is None else value
                for value in (
                    outcome.clean_confidence,
                    outcome.confidence,
                    outcome.size,
                    outcome.l2,
                    outcome.changed,
                    outcome.epsilon,
                    outcome.seconds,
                )
            )
            if not seen:
                self.problems.append(NoClip(key, place, outcome.problem or "there is no prediction"))
        self._columns = {key: self._spread(key, rows) for key, rows in gathered.items()}

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every key of which an outcome has come, in the order in which the first came."""
        return tuple(self._columns)

    def of(self, model: str, cell: str, tested_on: str | None = None) -> Columns:
        """The outcomes of one key (`tested_on` is `model` if None); nothing is seen where none has come."""
        key = (model, cell, model if tested_on is None else tested_on)
        return self._columns.get(key) or self._spread(key, _Rows())

    def digest(self) -> str:
        """SHA-256 of who predicted what: equal for two runs whose outcomes are equal, whatever the rows' order."""
        found = hashlib.sha256()
        for key in sorted(self._columns):
            columns = self._columns[key]
            found.update("\0".join(key).encode() + b"\0")
            for values in (columns.there, columns.clean, columns.predicted):
                found.update(np.ascontiguousarray(values, dtype="<i4").tobytes())
        return found.hexdigest()

    def _spread(self, key: Key, rows: _Rows) -> Columns:
        """The rows at their clips' places."""
        clips = len(self.labels)
        at = np.frombuffer(rows.position, dtype=np.int64) if rows.position else np.empty(0, np.int64)
        there = np.zeros(clips, dtype=np.bool_)
        there[at] = True
        if np.count_nonzero(there) < at.size:
            raise ValueError(f"an outcome of {key[0]}, {key[1]}, tested on {key[2]} is there twice")
        flags = np.zeros(clips, dtype=np.int8)
        flags[at] = np.array(rows.flags, dtype=np.int8)
        whole: dict[str, Any] = {}
        for number, name in enumerate(_WHOLE):
            whole[name] = np.full(clips, 0 if name == "gradients" else NOTHING, dtype=np.int64)
            whole[name][at] = rows.whole[number :: len(_WHOLE)]
        real: dict[str, Any] = {}
        for number, name in enumerate(_REAL):
            real[name] = np.full(clips, 0.0 if name == "seconds" else np.nan)
            real[name][at] = rows.real[number :: len(_REAL)]
        seen = (flags & 1).astype(np.bool_)
        return Columns(
            there=there,
            seen=seen,
            attacked=(flags & 2).astype(np.bool_) & seen,
            right=seen & (whole["predicted"] == self.labels),
            **whole,
            **real,
        )


def cells_of(columns: OutcomeColumns, model: str) -> list[str]:
    """The attacked cells that have outcomes of `model` on itself."""
    return [cell for name, cell, tested in columns.keys if name == tested == model and cell != CLEAN]
