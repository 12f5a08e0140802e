"""What a training is going to cost, before it is begun. Torch-free."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from multav.attacks.cost import Cost, cost_of
from multav.attacks.reach import short_of_bound
from multav.geometry import InputGeometry
from multav.training.crafting_attacks import crafting_attacks
from multav.training.length import Length
from multav.training.request import Mixture, TrainingRequest
from multav.training.videos import compared_with

TRAINING_PASS: Final = 1.5
"""What a gradient by weights and clips costs, in gradients by the clips alone."""
# Bytes kept for a pass of a clip, for each of its values: as audits count them, of a 3D ResNet-18 in float32.
_KEPT_PER_VALUE: Final = 400
# Weights, their gradients, and what optimisers remember of them.
_COPIES: Final = {"sgd": 3, "adamw": 4}


class TrainingEstimate(BaseModel):
    """What a training is going to cost at most. Seconds are None where no speed is known to tell them by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_clips: int = Field(description="videos that are trained on, about")
    validation_clips: int = Field(description="videos that choose the checkpoint, about")
    steps: int
    steps_per_epoch: int
    looks: int = Field(description="how often the validation clips are looked at")
    gradients: int = Field(
        description="gradient evaluations of a clip at most: those of attacks, of training passes and of looks"
    )
    predictions: int = Field(
        description="predictions of a clip at most, without a gradient: of looks, and of what attacks end with"
    )
    seconds: float | None = Field(
        description="by the speed that was measured last, or by one that is scaled from it, as a remark says then; "
        "GPUs share the work evenly, and hosts do; devices that are cores of one host share what was measured"
    )
    measured_on: str | None = Field(description="kind of device that the speed was measured on")
    memory_bytes: int = Field(
        description="of a device's part of a batch and the network, roughly, if all fits at once"
    )
    workers: int
    remarks: tuple[str, ...] = ()


def estimate(
    request: TrainingRequest,
    *,
    train_clips: int,
    validation_clips: int,
    geometry: InputGeometry,
    parameters: int | None,
    speed: tuple[str, float] | None,
    workers: int,
    remarks: tuple[str, ...] = (),
) -> TrainingEstimate:
    """The cost of `request`, whose network has so many `parameters` (None: not known) and sees clips of `geometry`.

    `speed`: kind of device, and seconds of one gradient of one clip on it; None: not known. `remarks` come first.
    """
    length = Length.of(request, train_clips)
    looks = -(-length.steps // length.look_every)
    looked_at = validation_clips + compared_with(validation_clips, train_clips)
    attacked = length.batch - round(request.clean_fraction * length.batch)
    crafting = _crafting(request, geometry) * (length.steps * attacked)
    asked = crafting + _look(request, geometry) * (looks * looked_at)
    passes = length.steps * length.batch * (2 if request.method == "trades" else 1)
    device, seconds = (None, None) if speed is None else speed
    said = list(remarks)
    smaller = length.remark(request)
    if smaller is not None:
        said.append(smaller)
    if parameters is None:
        said.append("the size of the network is not known: memory counts its activations alone")
    if workers == 0:
        said.append("no worker gives a sign of life: the training would wait for one")
    elif workers < request.hosts:
        said.append(
            f"{request.hosts} hosts are as many workers, and {workers} {'gives' if workers == 1 else 'give'} a sign of "
            "life: the training would wait for others, and fail when they do not come"
        )
    said += filter(None, map(short_of_bound, crafting_attacks(request)))
    values = 3 * geometry.frames * geometry.height * geometry.width
    # The speed of a processor is that of all its cores.
    at_once = request.hosts if device == "cpu" else request.devices
    copies = _COPIES[request.optimiser.kind] + (request.average is not None)
    return TrainingEstimate(
        train_clips=train_clips,
        validation_clips=validation_clips,
        steps=length.steps,
        steps_per_epoch=length.steps_per_epoch,
        looks=looks,
        gradients=round(asked.gradients + passes),
        predictions=round(asked.predictions),
        seconds=None
        if seconds is None
        else seconds * (asked.in_gradients + TRAINING_PASS * passes) / at_once,
        measured_on=device,
        memory_bytes=4 * copies * (parameters or 0)
        + -(-length.batch // request.devices) * values * _KEPT_PER_VALUE,
        workers=workers,
        remarks=tuple(said),
    )


def _crafting(request: TrainingRequest, geometry: InputGeometry) -> Cost:
    """What is asked of the model to make one clip of a step adversarial; of a mixture drawn by lot, on average."""
    attacks = crafting_attacks(request)
    if request.method == "free" or not attacks:
        # Of free training the gradient by the clip comes with that by the weights.
        return Cost()
    drawn = isinstance(request.attack, Mixture) and request.attack.choice == "random"
    met = 1 if drawn else len(attacks)
    # Several are compared by what they end with.
    costs = (cost_of(attack, geometry, look_at_end=met > 1) for attack in attacks)
    crafting = sum(costs, Cost()) * (met / len(attacks))
    # The answer to the clean clip, that others are to be led away from.
    return crafting + Cost(predictions=request.crafts_by_divergence)


def _look(request: TrainingRequest, geometry: InputGeometry) -> Cost:
    """What a look asks of the model for one clip: the clean one, and every attack that it withstands."""
    costs = (cost_of(attack, geometry, look_at_end=True) for attack in request.validation_attacks)
    return sum(costs, Cost(predictions=1))
