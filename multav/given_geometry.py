"""What a user says of the input of a network: some fields of its geometry, or none. Torch-free."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from multav.geometry import InputGeometry
from multav.validation import field_errors

Triple = Annotated[
    tuple[
        Annotated[float, Field(allow_inf_nan=False)],
        Annotated[float, Field(allow_inf_nan=False)],
        Annotated[float, Field(allow_inf_nan=False)],
    ],
    Field(description="red, green, blue, for pixels in [0, 1]"),
]


class GivenGeometry(BaseModel):
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

    @classmethod
    def of(cls, geometry: InputGeometry) -> Self:
        """All of `geometry`."""
        return cls.model_validate(geometry.model_dump())

    def given(self) -> dict[str, Any]:
        """The fields that the user gave."""
        return self.model_dump(exclude_none=True)

    def on(self, base: InputGeometry) -> InputGeometry:
        """`base` with the fields that were given in place of its own.

        Raises `ValueError`, in words for the user, where they do not fit together.
        """
        try:
            return InputGeometry.model_validate(base.model_dump() | self.given())
        except ValidationError as error:
            raise ValueError("; ".join(each["detail"] for each in field_errors(error))) from error
