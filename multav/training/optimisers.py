"""Optimisers and learning-rate schedules as specifications. Torch-free.

A schedule is a pure function of the step, so that a training that is resumed needs no state of it.
"""

from math import cos, pi
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

Rate = Annotated[float, Field(strict=True, gt=0, le=100)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sgd(_Spec):
    """Stochastic gradient descent; the defaults are the paper authors'."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Rate = Field(5e-4, description="at its highest")
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(0.9, description="of the gradients")
    weight_decay: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(1e-5, description="L2 penalty")
    nesterov: StrictBool = Field(False, description="look ahead along the momentum")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the momentum: give a momentum above 0")
        return self


class AdamW(_Spec):
    """AdamW (Loshchilov & Hutter)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Rate = Field(2e-3, description="at its highest")
    weight_decay: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(0.01, description="decoupled")


Optimiser = Annotated[Sgd | AdamW, Field(discriminator="kind")]


class _Schedule(_Spec):
    warm_up: Share = Field(
        0.0, description="share of the steps over which the rate rises in a line to its highest"
    )


class Constant(_Schedule):
    """The rate stays."""

    kind: Literal["constant"] = "constant"


class Multistep(_Schedule):
    """The rate is multiplied by `gamma` after each of some epochs; the default is the paper authors'.

    Their adversarial training stepped the schedule after each epoch, their clean training before it, and so one epoch
    earlier: (6,) is theirs of clean models.
    """

    kind: Literal["multistep"] = "multistep"
    milestones: Annotated[tuple[Annotated[int, Field(strict=True, ge=1)], ...], Field(max_length=100)] = (
        Field((7,), description="epochs after which it falls")
    )
    gamma: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(0.1, description="what remains of it")


class Cosine(_Schedule):
    """The rate falls to `floor` along a cosine; with a warm-up this is the one-cycle schedule."""

    kind: Literal["cosine"] = "cosine"
    floor: Share = Field(0.0, description="share of the highest rate that is left at the end")


AnySchedule = Constant | Multistep | Cosine
Schedule = Annotated[AnySchedule, Field(discriminator="kind")]


def rate_share(schedule: AnySchedule, step: int, *, steps: int, steps_per_epoch: int) -> float:
    """What step number `step` (from 0) of `steps` takes of the highest learning rate, in [0, 1]."""
    rising = round(schedule.warm_up * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if isinstance(schedule, Multistep):
        over = step // steps_per_epoch
        return float(schedule.gamma ** sum(over >= milestone for milestone in schedule.milestones))
    if isinstance(schedule, Cosine):
        passed = (step - rising) / max(1, steps - rising)
        return schedule.floor + (1 - schedule.floor) * (1 + cos(pi * passed)) / 2
    return 1.0
