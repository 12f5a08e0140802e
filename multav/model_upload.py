"""What a user says about a checkpoint that is to be registered; everything may be left to the file. Torch-free."""

from functools import partial
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StrictStr,
    Tag,
    ValidationError,
    field_validator,
)

from multav.attacks.catalogue import in_words
from multav.errors import InvalidSpec
from multav.model_card import ClassName, distinct
from multav.names import NAME, NAME_IN_WORDS, VERSION
from multav.validation import field_errors, near

Triple = Annotated[
    tuple[
        Annotated[float, Field(allow_inf_nan=False)],
        Annotated[float, Field(allow_inf_nan=False)],
        Annotated[float, Field(allow_inf_nan=False)],
    ],
    Field(description="red, green, blue, for pixels in [0, 1]"),
]

KnownClasses = Literal["ucf101", "hmdb51", "kinetics400", "numbered"]
Classes = Annotated[
    Annotated[KnownClasses, Tag("known list")]
    | Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=100_000), Tag("names")],
    Discriminator(lambda value: "known list" if isinstance(value, str) else "names"),
]
_UNION_TAGS: Final = frozenset({"known list", "names"})


class UploadedGeometry(BaseModel):
    """What the model expects of its clips, as far as the user says it; see `multav.geometry.InputGeometry`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = None
    stride: Annotated[int, Field(strict=True, ge=1, le=256)] | None = None
    short_side: Annotated[int, Field(strict=True, ge=1, le=4096)] | None = None
    height: Annotated[int, Field(strict=True, ge=1, le=4096)] | None = None
    width: Annotated[int, Field(strict=True, ge=1, le=4096)] | None = None
    mean: Triple | None = None
    std: Triple | None = None

    @field_validator("std")
    @classmethod
    def _positive(cls, std: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if std is not None and min(std) <= 0:
            raise ValueError("must be positive in every channel")
        return std

    def given(self) -> dict[str, Any]:
        """The fields that the user gave."""
        return self.model_dump(exclude_none=True)


class ModelUpload(BaseModel):
    """What a user says about a checkpoint.

    A safetensors file with a card needs none of it; what is given counts before the card. Of a file without a card
    the architecture is read from the tensors' shapes; what they cannot show is recognised from known files, and
    asked for otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(
        None,
        pattern=NAME,
        description=f"name to register under, {NAME_IN_WORDS}; null: the card's, or made from the file's name",
    )
    architecture: StrictStr | None = Field(None, max_length=100, description="null: read from the tensors")
    arguments: dict[Annotated[str, Field(max_length=100)], JsonValue] = Field(
        default_factory=dict,
        max_length=50,
        description="keyword arguments of the architecture, beyond or in place of those read from the tensors",
    )
    classes: Classes | None = Field(
        None,
        description="class names in the order of the logits, or a known list, or numbered (class 0, class 1, ...); "
        "null: the card's, or the known list of so many classes",
    )
    geometry: UploadedGeometry = Field(
        default_factory=UploadedGeometry,
        description="what the model expects of its clips, as far as you say it",
    )
    description: Annotated[str, Field(strict=True, max_length=10_000)] | None = None
    licence: Annotated[str, Field(strict=True, max_length=1000)] | None = None
    provenance: Annotated[str, Field(strict=True, max_length=10_000)] | None = Field(
        None, description="where the weights came from and how to make them again"
    )
    version: str = Field("1", pattern=VERSION)

    @field_validator("geometry", "arguments", mode="before")
    @classmethod
    def _nothing_said(cls, value: Any) -> Any:
        """Null says as much as leaving it out."""
        return {} if value is None else value

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: Any) -> Any:
        return distinct(classes) if isinstance(classes, tuple) else classes

    @classmethod
    def parse(cls, body: Any) -> Self:
        """The upload in `body` (parsed JSON). Raises `InvalidSpec` with a JSON pointer for each wrong field."""
        if not isinstance(body, dict):
            raise InvalidSpec("the model's specification must be a JSON object")
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            names = (*cls.model_fields, *UploadedGeometry.model_fields)
            errors = field_errors(error, tags=_UNION_TAGS, hint=partial(near, names=names))
            raise InvalidSpec(
                f"the model's specification is not valid: {in_words(errors)}", errors=errors
            ) from error
