"""The card that travels inside a safetensors checkpoint: which network, which classes, which input. Torch-free.

A checkpoint is a safetensors file whose string metadata holds one key, `multav`, with this card as JSON; so the
catalogue can read it without torch and without trusting anything executable.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from multav.errors import BadCheckpoint
from multav.geometry import InputGeometry
from multav.names import NAME, VERSION
from multav.validation import field_errors

METADATA_KEY = "multav"
ClassName = Annotated[str, Field(strict=True, min_length=1, max_length=200)]
_LARGEST_HEADER = 16 * 2**20
_LARGEST_CARD = 2**20


class ModelCard(BaseModel):
    """Everything about a model but its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    architecture: str = Field(description="key of models.architectures.ARCHITECTURES")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="the architecture's keyword arguments"
    )
    classes: tuple[ClassName, ...] = Field(min_length=2, description="class names in the order of the logits")
    geometry: InputGeometry
    description: str = ""
    licence: str = ""
    provenance: str = Field("", description="where the weights came from and how to make them again")
    parameters: int | None = None
    metrics: dict[str, float] = Field(
        default_factory=dict, description="measured accuracies in [0, 1] by data set"
    )
    version: str = Field("1", pattern=VERSION)
    macs: int | None = Field(None, description="multiply-adds of one clip in convolutions and linear layers")
    source_sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the file that the checkpoint was made from"
    )
    source_format: str | None = Field(
        None,
        description="what that file was: multav, safetensors, hara-2018, hara, torchvision or state-dict",
    )
    assumed: tuple[str, ...] = Field((), description="what was recognised or assumed at registration")
    smoke: dict[str, Any] | None = Field(None, description="outcome of the smoke test at registration")
    training_job: str | None = Field(None, description="the training that made the weights")

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return distinct(classes)


def distinct(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The class names, if no two are the same. Raises ValueError."""
    if len(set(classes)) < len(classes):
        [(twice, count)] = Counter(classes).most_common(1)
        raise ValueError(f"{twice!r} is there {count} times; a label could not tell them apart")
    return classes


def read_card(path: Path) -> ModelCard:
    """The card of the safetensors checkpoint at `path`.

    Raises `BadCheckpoint` when the file is not safetensors, or holds no card or a wrong one.
    """
    with path.open("rb") as file:
        return card_of(file.read(8 + _LARGEST_HEADER))


def card_of(data: bytes) -> ModelCard:
    """The card in the first bytes of a safetensors checkpoint. Raises `BadCheckpoint` as `read_card` does."""
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(_LARGEST_HEADER, len(data) - 8):
        raise BadCheckpoint(
            f"not a safetensors file: a header of {length} bytes in a file of {len(data)} or more"
        )
    try:
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (ValueError, AttributeError) as error:
        raise BadCheckpoint(f"not a safetensors file: {error}") from error
    if METADATA_KEY not in metadata:
        raise BadCheckpoint(
            f"the checkpoint holds no model card: its metadata lacks the key {METADATA_KEY!r}"
        )
    if len(str(metadata[METADATA_KEY])) > _LARGEST_CARD:
        raise BadCheckpoint(
            f"the checkpoint's model card is longer than {_LARGEST_CARD} characters: shorten its texts or class names"
        )
    try:
        return ModelCard.model_validate_json(metadata[METADATA_KEY])
    except ValidationError as error:
        wrong = "; ".join(f"{each['pointer'] or '/'}: {each['detail']}" for each in field_errors(error)[:5])
        raise BadCheckpoint(f"the checkpoint's model card is not valid: {wrong}") from error
