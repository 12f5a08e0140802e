"""Fields of a training request that would change nothing: whoever sets one means something else than is done.

A request that spells out all defaults is the same request, so only values that differ from them are refused.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel

from multav.errors import FieldError
from multav.training.optimisers import Multistep

if TYPE_CHECKING:
    from multav.training.request import TrainingRequest


def idle_fields(request: "TrainingRequest") -> list[FieldError]:
    """An error for each field that is set and has no effect beside the others."""
    return [
        FieldError(pointer=pointer, detail=detail)
        for part, pointer, detail in _without_effect(request)
        if _is_set(part, pointer.rpartition("/")[2])
    ]


def _without_effect(request: "TrainingRequest") -> Iterator[tuple[BaseModel, str, str]]:
    """Part of the request, pointer to its field, and why the field has no effect."""
    start, validation, schedule = request.start, request.validation, request.schedule
    if request.method != "trades":
        yield request, "/beta", f"beta is of method trades, and the method is {request.method}: leave it out"
        yield (
            request,
            "/crafting",
            f"crafting is of method trades, and the method is {request.method}: leave it out",
        )
    if request.method != "free":
        yield (
            request,
            "/replays",
            f"replays are of method free, and the method is {request.method}: leave it out",
        )
    if request.attack is None:
        yield request, "/ramp", "a ramp is of the attack, and the training is clean: leave it out"
        yield request, "/clean_fraction", "without an attack every clip stays clean: leave it out"
    if request.steps is not None:
        yield (
            request,
            "/epochs",
            f"the training has {request.steps} steps, however many epochs that is: give one of them",
        )
    if start.architecture is not None:
        yield start, "/start/model_sha256", "random weights have no SHA-256 to be held against: leave it out"
    if validation.dataset is None:
        yield (
            validation,
            "/validation/dataset_sha256",
            "no validation dataset is named: name it, or leave this out",
        )
    else:
        yield (
            validation,
            "/validation/share",
            f"nothing is set aside, as dataset {validation.dataset} is looked at: leave it out",
        )
    if isinstance(schedule, Multistep) and not schedule.milestones:
        yield (
            schedule,
            "/schedule/gamma",
            "without milestones the rate never falls: name some, or leave gamma out",
        )


def _is_set(part: BaseModel, name: str) -> bool:
    default = type(part).model_fields[name].get_default(call_default_factory=True)
    return bool(getattr(part, name) != default)
