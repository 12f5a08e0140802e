"""What an audit is going to cost, before it is begun. Torch-free."""

from collections.abc import Mapping
from math import ceil
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from multav.attacks.cost import Cost, cost_of
from multav.attacks.reach import short_of_bound
from multav.audits.check_costs import most_gradients, most_predictions
from multav.audits.minimum import HALVINGS, minimum_cells
from multav.audits.request import AuditRequest
from multav.geometry import InputGeometry

# Bytes kept for the gradient of a clip, for each of its values: measured on a 3D ResNet-18 in float32.
_KEPT_PER_VALUE: Final = 400


class ModelCost(BaseModel):
    """What one model's share costs. Seconds are None where no speed of the model was ever measured here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    gradients: int = Field(
        description="gradient evaluations at most: an early stop and clips that are not known save some"
    )
    predictions: int = Field(
        description="predictions of a clip at most, without a gradient: of the clean one, of what attacks end with and "
        "where rectangles are tried, of other models, and of the checks, the black-box attack among them"
    )
    seconds: float | None = Field(description="of one worker, by the speed that was measured last")
    measured_on: str | None = Field(description="kind of device that the speed was measured on")
    memory_bytes: int = Field(description="of a batch and the network, roughly")


class AuditEstimate(BaseModel):
    """What an audit is going to cost at most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: int
    models: int
    attacks: int = Field(description="settings and bounds together")
    outcomes: int = Field(
        description="rows of results: clips times models times (attacks and the clean clip)"
    )
    gradients: int
    predictions: int
    seconds: float | None = Field(
        description="with the workers that are there now; null where a speed is not known"
    )
    workers: int
    by_model: tuple[ModelCost, ...]
    remarks: tuple[str, ...] = ()


def estimate(
    request: AuditRequest,
    *,
    clips: int,
    geometries: Mapping[str, InputGeometry],
    parameters: Mapping[str, int | None],
    speeds: Mapping[str, tuple[str, float]],
    workers: int,
) -> AuditEstimate:
    """The cost of `request` on so many clips.

    By model: the `geometries` and numbers of `parameters`, and of the `speeds` that were measured device and seconds of
    one gradient of one clip.
    """
    checked = Cost()
    if request.checks is not None:
        # Which attack is doubted is not known before it has run.
        sample, others = min(clips, request.checks.clips), len(request.models) - 1
        attacks = [cell.attack for cell in request.cells]
        checked = (
            Cost(
                max(most_gradients(each, request.checks, others=others) for each in attacks),
                max(most_predictions(each, request.checks, others=others) for each in attacks),
            )
            * sample
        )
    costs = []
    for name in request.models:
        geometry, (device, seconds) = geometries[name], speeds.get(name, (None, None))
        cost = _of_a_clip(request, geometry) * clips + checked
        values = 3 * geometry.frames * geometry.height * geometry.width
        costs.append(
            ModelCost(
                model=name,
                gradients=round(cost.gradients),
                predictions=round(cost.predictions),
                seconds=None if seconds is None else cost.in_gradients * seconds,
                measured_on=device,
                memory_bytes=(parameters[name] or 0) * 4 + request.batch_size * values * _KEPT_PER_VALUE,
            )
        )
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    remarks = []
    if len(known) < len(costs):
        lacking = ", ".join(cost.model for cost in costs if cost.seconds is None)
        remarks.append(
            f"the speed of {lacking} was never measured here: audit a few clips first (subset.count)"
        )
    if workers == 0:
        remarks.append("no worker gives a sign of life: the audit would wait for one")
    remarks += filter(None, (short_of_bound(cell.attack) for cell in request.cells))
    at_once = max(1, min(workers, ceil(clips / request.batch_size)))
    rows = len(request.cells) + 1 + (len({c.family for c in request.cells}) if request.minimum_epsilon else 0)
    return AuditEstimate(
        clips=clips,
        models=len(request.models),
        attacks=len(request.cells),
        outcomes=clips * len(request.models) * rows,
        gradients=sum(cost.gradients for cost in costs),
        predictions=sum(cost.predictions for cost in costs),
        seconds=sum(known) / at_once if len(known) == len(costs) else None,
        workers=workers,
        by_model=tuple(costs),
        remarks=tuple(remarks),
    )


def _of_a_clip(request: AuditRequest, geometry: InputGeometry) -> Cost:
    """What the attacks, and those who look at what they made, ask of models for one clip that the model knows."""
    costs = [cost_of(cell.attack, geometry, look_at_end=True) for cell in request.cells]
    if request.minimum_epsilon:
        # The largest bound first, then every halving.
        searched = minimum_cells(request.cells).values()
        costs += [cost_of(cell.attack, geometry, look_at_end=True) * (1 + HALVINGS) for cell in searched]
    others = len(request.models) - 1 if request.transfer else 0
    return sum(costs, Cost(predictions=1 + others * len(request.cells)))
