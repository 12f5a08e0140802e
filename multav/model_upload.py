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
from multav.given_geometry import GivenGeometry
from multav.model_card import ClassName, distinct
from multav.names import NAME, NAME_IN_WORDS, VERSION
from multav.validation import field_errors, near

KnownClasses = Literal["ucf101", "hmdb51", "kinetics400", "numbered"]
Classes = Annotated[
    Annotated[KnownClasses, Tag("known list")]
    | Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=100_000), Tag("names")],
    Discriminator(lambda value: "known list" if isinstance(value, str) else "names"),
]
_UNION_TAGS: Final = frozenset({"known list", "names"})


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
    geometry: GivenGeometry = Field(
        default_factory=GivenGeometry,
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
            names = (*cls.model_fields, *GivenGeometry.model_fields)
            errors = field_errors(error, tags=_UNION_TAGS, hint=partial(near, names=names))
            raise InvalidSpec(
                f"the model's specification is not valid: {in_words(errors)}", errors=errors
            ) from error
