"""Everything that a report says, as one tree of values with a JSON Schema. `summarise.py` fills it in. Torch-free.

One row is one video. Shares are in [0, 1] and come as k of n with a 95 % interval; None is what cannot be known.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from multav.audits.findings import Check, Verdict
from multav.reports.bound_unit import Unit
from multav.reports.manifest import Manifest
from multav.statistics.curves import AccuracyCurve
from multav.statistics.minimum_epsilon import MinimumEpsilons
from multav.statistics.paired import PairedDifference
from multav.statistics.rates import Rate

UNIT: Final = "one row is one video"
DENOMINATORS: Final = {
    "clean accuracy": "videos that could be read",
    "robust accuracy": "videos that could be read, those that were wrong before the attack included",
    "attack success": "videos that were right before the attack",
    "worst case": "videos with an outcome for every attack; right means right under each of them",
    "transfer": "videos that both models had right before the attack",
}
SIGNIFICANT: Final = 0.05
"""Below it a Holm-adjusted p-value is marked."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ThreatModel(_Part):
    """What one attack was allowed to do. Fields that a kind does not have are null."""

    rule: Literal["multiplicative", "additive"]
    ball: str = Field(description="what epsilon limits")
    region: str = Field(description="where pixels may change")
    epsilon: float
    unit: Unit = Field(
        description="what epsilon counts: a factor, a difference of values, or a Euclidean length"
    )
    step_size: float | None
    steps: int
    restarts: int
    random_start: bool
    loss: str
    early_stop: bool | None = Field(description="whether a clip was left once the model was fooled")
    settings: dict[str, JsonValue] = Field(description="every other field of the attack")


class CellDescription(_Part):
    """One column: an attack at one epsilon. Cells of one family differ in epsilon alone."""

    name: str
    family: str
    kind: str
    meaning: str
    threat_model: ThreatModel


class Spread(_Part):
    """The middle and the largest of some numbers; null where there is none."""

    median: float | None
    largest: float | None


class CellNumbers(_Part):
    """What one attack did to one model. Sizes, confidences and times are over `attacked`."""

    cell: str
    clips: int = Field(description="videos that the audit asked for")
    unread: int = Field(description="videos that gave no outcome, on the clean clip or here")
    missing: int = Field(description="videos whose outcome has not come yet")
    robust: Rate = Field(description="right under the attack, of all videos read")
    success: Rate = Field(description="wrong under the attack, of the videos right before it")
    attacked: int
    size: Spread = Field(
        description="largest ratio of multiplicative attacks, largest difference of additive ones"
    )
    l2: Spread = Field(description="norm of the difference")
    changed: Spread = Field(description="share of the pixels that differ")
    confidence_before: float | None = Field(description="mean probability of the predicted class, clean")
    confidence_after: float | None = Field(
        description="mean probability of the class predicted under the attack"
    )
    fooled_here_alone: int = Field(description="videos right before that no other attack of the audit fooled")
    gradients: int
    seconds: float


class WorstCase(_Part):
    """Right under every attack of `over`, video by video: never above the lowest of them."""

    over: str = Field(description='a family, or "all attacks"')
    cells: tuple[str, ...]
    robust: Rate
    success: Rate


class FamilyCurve(_Part):
    """Accuracy against epsilon for one family of cells; the clean clips are its first point."""

    family: str
    unit: Unit
    curve: AccuracyCurve


class FamilyMinimum(_Part):
    """How the smallest bound that fools the model is distributed, over the videos that were right before."""

    cell: str
    family: str
    unit: Unit
    distribution: MinimumEpsilons


class ClassRow(_Part):
    """One class: `after` has (right, videos) for each cell."""

    name: str
    clips: int
    clean: Rate
    worst: Rate
    after: dict[str, tuple[int, int]]


class Confusion(_Part):
    """Which classes were taken for which, as (class, taken for, videos), the diagonal included; zeros left out."""

    cell: str
    clips: int
    entries: tuple[tuple[int, int, int], ...]


class ModelNumbers(_Part):
    """Everything about one model."""

    name: str
    verdict: Verdict | None
    checks: tuple[Check, ...]
    clips: int
    unread: int
    missing: int
    clean: Rate
    confidence: float | None = Field(description="mean probability of the predicted class on clean clips")
    cells: tuple[CellNumbers, ...]
    worst: tuple[WorstCase, ...] = Field(
        description="over all attacks first, then per family of several cells"
    )
    curves: tuple[FamilyCurve, ...]
    minimum_epsilons: tuple[FamilyMinimum, ...]
    classes: tuple[ClassRow, ...]
    confusions: tuple[Confusion, ...] = Field(
        description="clean, and at the largest epsilon of each family; others can be counted from the outcomes"
    )


class Side(_Part):
    """One side of a comparison."""

    model: str
    cell: str
    accuracy: Rate


class Comparison(_Part):
    """Robust accuracy of `first` against that of `second` on the same videos."""

    question: Literal["multiplicative or additive", "model or model"]
    first: Side
    second: Side
    paired: PairedDifference
    p_holm: float = Field(
        description="p_by_group after Holm's correction over all comparisons of the same question"
    )
    among: int = Field(description="how many comparisons the correction is over")
    significant: bool = Field(description="p_holm below 0.05")


class Transfer(_Part):
    """What was crafted on one model, shown to another: over the videos that both had right before."""

    cell: str
    crafted_on: str
    tested_on: str
    success: Rate = Field(description="videos that fool tested_on")
    own_success: Rate = Field(description="the same videos that fool crafted_on itself")
    surrogate: Rate = Field(description="clean accuracy of crafted_on over the videos shown to tested_on")


class Problem(_Part):
    """A video that gave no outcome, and where."""

    clip: int
    video: str
    label: int
    problem: str
    models: tuple[str, ...]
    cells: tuple[str, ...]


class Summary(_Part):
    """The whole report of one audit."""

    unit: str
    level: float = Field(description="confidence of all intervals")
    denominators: dict[str, str]
    complete: bool = Field(description="whether every outcome that was asked for has come")
    videos: int
    groups: int = Field(
        description="groups of videos cut from the same source; intervals by group resample these"
    )
    read: int = Field(description="videos that at least one model saw")
    groups_read: int = Field(description="groups that these come from")
    resamples: int
    class_names: tuple[str, ...]
    cells: tuple[CellDescription, ...]
    models: tuple[ModelNumbers, ...]
    comparisons: tuple[Comparison, ...]
    transfer: tuple[Transfer, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = Field(description="what a reader must know before believing a number")
    manifest: Manifest | None
