"""What a training is going to cost, before it is begun. Torch-free."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from multav.geometry import InputGeometry
from multav.training.length import Length
from multav.training.request import Mixture, TrainingRequest

TRAINING_PASS: Final = 1.5
"""What a gradient by weights and clips costs, in gradients by the clips alone."""
# Bytes kept for a pass of a clip, for each of its values: as audits count them, of a 3D ResNet-18 in float32.
_KEPT_PER_VALUE: Final = 400
# Weights, their gradients, and what optimisers remember of them.
_COPIES: Final = {"sgd": 3, "adamw": 4}
# Training clips that a look goes through beside the validation clips.
_ALSO_LOOKED_AT: Final = 200


class TrainingEstimate(BaseModel):
    """What a training is going to cost at most. Seconds are None where the speed of its network was never measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_clips: int = Field(description="videos that are trained on, about")
    validation_clips: int = Field(description="videos that choose the checkpoint, about")
    steps: int
    steps_per_epoch: int
    looks: int = Field(description="how often the validation clips are looked at")
    gradients: int = Field(
        description="gradient evaluations of a clip at most: those of attacks, of training passes and of looks"
    )
    seconds: float | None = Field(
        description="of one worker, by the speed that was measured last; devices share the work evenly"
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

    `speed`: device and seconds of one gradient of one clip, as measured last.
    """
    length = Length.of(request, train_clips)
    looks = -(-length.steps // length.look_every)
    attacking, passes = _of_a_clip(request)
    looked_at = validation_clips + min(train_clips, _ALSO_LOOKED_AT)
    looking = looks * looked_at * sum(attack.most_steps for attack in request.validation_attacks)
    crafted = length.steps * length.batch * attacking + looking
    trained = length.steps * length.batch * passes
    device, seconds = (None, None) if speed is None else speed
    said = list(remarks)
    smaller = length.remark(request)
    if smaller is not None:
        said.append(smaller)
    if seconds is None:
        said.append("the speed of this network was never measured here, so the time is not known")
    if parameters is None:
        said.append("the size of the network is not known: memory counts its activations alone")
    if workers == 0:
        said.append("no worker gives a sign of life: the training would wait for one")
    elif workers < request.hosts:
        said.append(
            f"{request.hosts} hosts are as many workers, and {workers} {'gives' if workers == 1 else 'give'} a sign of "
            "life: the training would wait for others, and fail when they do not come"
        )
    values = 3 * geometry.frames * geometry.height * geometry.width
    copies = _COPIES[request.optimiser.kind] + (request.average is not None)
    return TrainingEstimate(
        train_clips=train_clips,
        validation_clips=validation_clips,
        steps=length.steps,
        steps_per_epoch=length.steps_per_epoch,
        looks=looks,
        gradients=round(crafted + trained),
        seconds=None if seconds is None else seconds * (crafted + TRAINING_PASS * trained) / request.devices,
        measured_on=device,
        memory_bytes=4 * copies * (parameters or 0)
        + -(-length.batch // request.devices) * values * _KEPT_PER_VALUE,
        workers=workers,
        remarks=tuple(said),
    )


def _of_a_clip(request: TrainingRequest) -> tuple[float, int]:
    """Gradients that attacks take of a clip in one step of the training, and passes that train on it."""
    if request.method == "free":
        # The gradient by the clip comes with that by the weights.
        return 0.0, 1
    steps = [attack.most_steps for attack in request.attacks]
    if request.method == "fast":
        return 1 - request.clean_fraction, 1
    if not steps:
        return 0.0, 1
    drawn = isinstance(request.attack, Mixture) and request.attack.choice == "random"
    crafting = sum(steps) / len(steps) if drawn else sum(steps)
    return crafting * (1 - request.clean_fraction), 2 if request.method == "trades" else 1
