"""What every attack is: a frozen specification that joins a rule, a ball and a region. Torch-free.

An ascent asks a specification for its bound (`project`), and its region where to act; a kind is its choice of
rule, ball and region, and its defaults. Tensors are (B, 3, T, H, W) float in [0, 1] unless said otherwise.
"""

from abc import ABC
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from multav.attacks.balls import Ball, Linf
from multav.attacks.regions import Region, WholeClip
from multav.attacks.rules import Rule

Tensor = Any
Steps = Annotated[int, Field(strict=True, ge=1, le=10_000)]
LossName = Literal["cross-entropy", "dlr", "dlr-targeted"]

_TARGET_CLASSES: Final = 9
_LINF: Final = Linf()
_WHOLE_CLIP: Final = WholeClip()


class AttackSpec(BaseModel, ABC):
    """The setting of one attack, compared by value and printed whole.

    `epsilon` bounds the perturbation, `steps` gradients are spent on it. With `targeted` the labels are classes to
    reach and the loss is descended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rule: ClassVar[Rule]
    equation: ClassVar[str]
    meaning: ClassVar[str]
    source: ClassVar[str]
    settings: ClassVar[dict[str, dict[str, Any]]] = {}
    """Other settings of the same kind that are worth a name: fields by name."""

    kind: str
    epsilon: float
    steps: Steps = Field(5, description="number of gradient steps, T in the paper")
    random_start: StrictBool = Field(
        False, description="start at a random point within the bound instead of the clean clip"
    )
    targeted: StrictBool = Field(False, description="labels are classes to reach instead of to leave")
    restarts: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        1, description="independent runs with new random draws; the best one of each clip is kept"
    )
    loss: LossName = Field(
        "cross-entropy",
        description="what is climbed; dlr (Croce & Hein) does not change with the logits' scale, and needs 3 classes; "
        "dlr-targeted tries one other class after the other, and needs 4 classes",
    )
    target_classes: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        _TARGET_CLASSES,
        description="with loss dlr-targeted: how many other classes are tried, the likeliest first; the best run of "
        "each clip is kept",
    )

    @property
    def ends_with_a_score(self) -> bool:
        """Whether every result is looked at once more after its last step, rather than taken from on the way."""
        return True

    @property
    def most_steps(self) -> int:
        """How many steps all runs together take at most: fewer with few classes or an early stop."""
        return self.steps * self.restarts * (self.target_classes if self.loss == "dlr-targeted" else 1)

    @property
    def ball(self) -> Ball:
        """What the bound limits."""
        return _LINF

    @property
    def region(self) -> Region:
        """Where the attack may act; a kind with a region of its own builds it from its fields."""
        return _WHOLE_CLIP

    @model_validator(mode="after")
    def _restarts_differ(self) -> Self:
        if self.restarts > 1 and not (self.random_start or self.region.drawn):
            raise ValueError(
                f"{self.restarts} restarts would all be the same run: set random_start, or choose a kind whose region "
                "is drawn at random"
            )
        return self

    @model_validator(mode="after")
    def _targets_are_meant(self) -> Self:
        if self.loss != "dlr-targeted" and self.target_classes != _TARGET_CLASSES:
            raise ValueError(f"target_classes means nothing to loss {self.loss!r}: set loss to dlr-targeted")
        if self.loss == "dlr-targeted" and self.targeted:
            raise ValueError(
                "loss dlr-targeted looks for a class to leave for; with targeted, which names that class, use another"
            )
        return self

    def enlarged(self, times: float) -> Self:  # noqa: ARG002
        """The same attack on clips of `times` as many values; another only where the bound is on a whole clip."""
        return self

    def scatter(self, adversarial: Tensor, noise: Tensor) -> Tensor:
        """From the centre to a random point of the bound; `noise` is uniform in [-1, 1]. Both are used up."""
        return self.ball.scatter(self.rule, adversarial, noise, self.epsilon)

    def project(self, adversarial: Tensor, origin: Tensor) -> Tensor:
        """The nearest point within `epsilon` of `origin` and within [0, 1], in place."""
        return self.ball.project(self.rule, adversarial, origin, self.epsilon).clamp_(0, 1)
