"""What the models of a plan answered, brought onto the same clips, so that any two can be compared clip by clip."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from multav.client import Json
from multav.reproduction.plan import PlannedModel

Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """The answers of one model: by cell (and "clean") and by clip, the index in the listing, whether it was right.

    `groups` has of every clip of the audit the source that it was cut from; a clip that gave no answer is in no cell.
    The jobs are those of the service.
    """

    planned: PlannedModel
    right: dict[str, dict[int, bool]]
    groups: dict[int, str]
    training: Json
    audit: Json

    @classmethod
    def of(cls, planned: PlannedModel, outcomes: Iterable[Json], training: Json, audit: Json) -> Self:
        """From the outcomes of an audit, as the service lists them."""
        right: dict[str, dict[int, bool]] = {}
        groups: dict[int, str] = {}
        for outcome in outcomes:
            groups[outcome["clip"]] = outcome["group"]
            cell = right.setdefault(outcome["cell"], {})
            if outcome["problem"] is None:
                cell[outcome["clip"]] = outcome["predicted"] == outcome["label"]
        return cls(planned, right, groups, training, audit)


@dataclass(frozen=True)
class Measured:
    """One model of the plan as it was audited.

    `right` has for each cell (and "clean") whether the model is right about the clips, in the order of the listing,
    `groups` the source of each of them: clips cut from one recording are not independent.
    """

    planned: PlannedModel
    right: dict[str, Hits]
    groups: tuple[str, ...]
    training: Json
    audit: Json

    def under(self, kind: str) -> Hits:
        """Whether it is right under the attack of that kind."""
        (found,) = (hits for cell, hits in self.right.items() if cell.partition("@")[0] == kind)
        return found


@dataclass(frozen=True)
class Findings:
    """`measured`: the models that were trained and audited, in the order of the plan, all on the same clips.

    `clips_left_out` are the clips that one audit or another had no answer for; `failed` the jobs that did not succeed,
    whose models are missing.
    """

    measured: list[Measured]
    clips_left_out: int = 0
    failed: list[Json] = field(default_factory=list)


def aligned(answers: Sequence[Answers]) -> tuple[list[Measured], int]:
    """All models on the clips that every one of them has all answers for, and how many clips are left out for that."""
    asked = set().union(*(each.groups for each in answers))
    common = sorted(asked.intersection(*(cell for each in answers for cell in each.right.values())))
    groups = {clip: group for each in answers for clip, group in each.groups.items()}
    measured = [
        Measured(
            planned=each.planned,
            right={
                cell: np.array([found[clip] for clip in common], dtype=np.bool_)
                for cell, found in each.right.items()
            },
            groups=tuple(groups[clip] for clip in common),
            training=each.training,
            audit=each.audit,
        )
        for each in answers
    ]
    return measured, len(asked) - len(common)
