"""What a user asks for when models are to be audited: the body of `POST /v1/audits`. Torch-free."""

from functools import partial
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from multav.attacks.catalogue import ATTACKS, Attack, in_words, where_known
from multav.attacks.multav_linf import MultavLinf
from multav.audits.cells import Cell, cells, on_grid, repeated
from multav.errors import FieldError, InvalidSpec
from multav.validation import field_errors

Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Grid = Annotated[tuple[Annotated[float, Field(strict=True)], ...], Field(max_length=64)]

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

MOST_CELLS: Final = 256
MOST_NAMED_VIDEOS: Final = 10_000
Names = Annotated[tuple[StrictStr, ...], Field(min_length=1, max_length=MOST_NAMED_VIDEOS)]

PRIORITIES: Final = {"high": 0, "normal": 1, "low": 2}
"""By name, as the store sorts them."""


class Subset(BaseModel):
    """Which of the dataset's videos are looked at: all, or a share drawn class by class with `seed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Count | None = Field(
        None, description="so many videos, drawn so that each class keeps its share (stratified)"
    )
    per_class: Count | None = Field(None, description="so many videos of every class at most")
    classes: Annotated[tuple[StrictStr, ...], Field(min_length=1, max_length=10_000)] | None = Field(
        None, description="only videos of these classes; null: all"
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = Field(0, description="seed of the draw")

    @field_validator("classes")
    @classmethod
    def _once_each(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(set(classes)) < len(classes):
            raise ValueError("a class is named twice: name each once")
        return classes

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.count is not None and self.per_class is not None:
            raise ValueError("count and per_class each say how many videos: give one of them")
        return self


class AuditSubset(Subset):
    """The same, or videos one by one: what a training sets aside has no other name."""

    videos: Names | None = Field(
        None, description="these videos, by the names that outcomes call them by, and nothing else; null: all"
    )

    @model_validator(mode="after")
    def _named_alone(self) -> Self:
        if self.videos is None:
            return self
        if (self.count, self.per_class, self.classes) != (None, None, None):
            raise ValueError("videos names each: leave count, per_class and classes out")
        if len(set(self.videos)) < len(self.videos):
            raise ValueError("a video is named twice: name each once")
        return self


class Checks(BaseModel):
    """The doubts that an audit raises against itself, on a random sample of the clips that a model knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Annotated[int, Field(strict=True, ge=4, le=10_000)] = Field(
        32, description="clips of the sample that the checks run on, per model"
    )
    more_steps: Annotated[int, Field(strict=True, ge=2, le=100)] = Field(
        10, description="how many times as many steps the stronger attack takes"
    )
    restarts: Annotated[int, Field(strict=True, ge=1, le=100)] = Field(
        5, description="random restarts of the stronger attack"
    )
    queries: Annotated[int, Field(strict=True, ge=10, le=100_000)] = Field(
        200, description="predictions that the black-box attack may ask for, per clip"
    )


class AuditRequest(BaseModel):
    """One audit, every default spelled out.

    Every model meets every attack at every epsilon on the same videos. `epsilons` multiplies attacks: by kind, a list
    of bounds at which each attack of that kind is run; a plain list is for all kinds. A step size that is not given
    keeps its share of the bound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    models: Annotated[tuple[StrictStr, ...], Field(max_length=64)] = Field(
        (), description="names of registered models; the server's default if empty"
    )
    model_sha256: dict[str, Sha256] = Field(
        default_factory=dict, description="refuse the request unless these models have these SHA-256"
    )
    dataset: StrictStr = Field("camera-motion", description="name of a registered dataset")
    dataset_sha256: Sha256 | None = Field(
        None, description="refuse the request unless the dataset lists what has this SHA-256"
    )
    attacks: Annotated[tuple[Attack, ...], Field(min_length=1, max_length=MOST_CELLS)] = Field(
        default_factory=lambda: (MultavLinf(),), description="threat models and their parameters"
    )
    epsilons: dict[str, Grid] = Field(
        default_factory=dict, description='bounds by kind, as {"multav-linf": [1.01, 1.02, 1.04]}'
    )
    subset: AuditSubset = Field(default_factory=AuditSubset, description="which videos")
    recipe: Literal["model", "paper", "hara"] = Field(
        "model",
        description="how a video becomes clips: one clip in the middle as the model's own geometry has it; the paper's "
        "(stride n // frames, looped when short); or Hara's (windows side by side, mean softmax)",
    )
    early_stop: StrictBool = Field(
        True,
        description="leave a clip once the model is fooled: the outcome is whether any step fools it, and costs less; "
        "false judges the last step alone, as the paper does",
    )
    transfer: StrictBool = Field(
        False, description="try what was crafted on each model on all other models too"
    )
    minimum_epsilon: StrictBool = Field(
        False, description="look for the smallest epsilon that fools the model on each clip, by bisection"
    )
    checks: Checks | None = Field(
        default_factory=Checks, description="doubts that are raised and answered; null leaves them out"
    )
    examples: Annotated[int, Field(strict=True, ge=0, le=20)] = Field(
        3, description="videos of each model that the report plays before and after"
    )
    robust_at: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        0.5,
        description="a model is called robust to an attack when at least this share of the clips that it knows stay "
        "right, with 95 % confidence",
    )
    batch_size: Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(
        8, description="clips that are attacked together; results are equal within rounding"
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = Field(
        0, description="seed of every random draw of the attacks"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of the attacks' gradients; outcomes are always verified in float32"
    )
    priority: Literal["low", "normal", "high"] = Field(
        "normal",
        description="audits of a higher priority are worked on first; single attacks go before all audits",
    )

    @field_validator("epsilons", mode="before")
    @classmethod
    def _for_all_kinds(cls, epsilons: Any) -> Any:
        """A plain list, kept under the empty name until the attacks are known."""
        return {"": epsilons} if isinstance(epsilons, list | tuple) else epsilons

    @classmethod
    def parse(cls, body: Any) -> Self:
        """The audit in `body` (parsed JSON). Raises `InvalidSpec` with a JSON pointer for each wrong field."""
        if not isinstance(body, dict):
            raise InvalidSpec("the audit specification must be a JSON object")
        try:
            request = cls.model_validate(body)
        except ValidationError as error:
            errors = field_errors(
                error, tags=frozenset(ATTACKS), hint=partial(where_known, others=cls.model_fields)
            )
            for each in errors:
                # A plain list is kept under an empty name.
                each["pointer"] = each["pointer"].replace("/epsilons//", "/epsilons/", 1)
            raise InvalidSpec(
                f"the audit specification is not valid: {in_words(errors)}", errors=errors
            ) from error
        request._refuse_contradictions()
        return request

    def spelled_out(self) -> Self:
        """The same audit with an attack for every cell and no grid left. Raises `InvalidSpec`."""
        attacks = on_grid(self.attacks, self._grids())
        if self.early_stop:
            attacks = tuple(
                attack.model_copy(update={"early_stop": True}) if hasattr(attack, "early_stop") else attack
                for attack in attacks
            )
        return self.model_copy(update={"attacks": attacks, "epsilons": {}})

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The attacks of the audit, each with its name."""
        return cells(self.spelled_out().attacks)

    def _grids(self) -> dict[str, Grid]:
        everywhere = self.epsilons.get("")
        if everywhere is None:
            return self.epsilons
        return {attack.kind: everywhere for attack in self.attacks}

    def _refuse_contradictions(self) -> None:
        """Raise `InvalidSpec` for fields that are each right but not together."""
        self._refuse_many()
        errors: list[FieldError] = []
        kinds = [attack.kind for attack in self.attacks]
        for kind, grid in self._grids().items():
            pointer = "/epsilons" if "" in self.epsilons else f"/epsilons/{kind}"
            if kind not in kinds:
                errors.append(
                    FieldError(
                        pointer=pointer,
                        detail=f"no attack of this audit is of the kind {kind!r}: its kinds are {', '.join(kinds)}",
                    )
                )
                continue
            if not grid:
                errors.append(FieldError(pointer=pointer, detail="must have at least 1 entry: name a bound"))
            if len(set(grid)) < len(grid):
                errors.append(FieldError(pointer=pointer, detail="an epsilon is there twice: name each once"))
            for attack in self.attacks:
                if attack.kind == kind:
                    errors += self._wrong_bounds(attack, grid, pointer)
        for index, attack in enumerate(self.attacks):
            if attack.targeted:
                errors.append(
                    FieldError(
                        pointer=f"/attacks/{index}/targeted",
                        detail="an audit asks whether a model leaves the true class, and knows no class to reach: "
                        "leave targeted out",
                    )
                )
        if len(set(self.models)) < len(self.models):
            errors.append(FieldError(pointer="/models", detail="a model is named twice: name each once"))
        if not errors:
            found = self.cells
            twice = repeated(found)
            if twice:
                errors.append(
                    FieldError(
                        pointer="/attacks", detail=f"the same attack is there twice: {', '.join(twice)}"
                    )
                )
        if errors:
            raise InvalidSpec("; ".join(each["detail"] for each in errors[:5]), errors=errors)

    def _refuse_many(self) -> None:
        """Raise `InvalidSpec` for too many cells, before any of them is made."""
        grids = self._grids()
        count = sum(len(grids.get(attack.kind, (attack.epsilon,))) for attack in self.attacks)
        if count > MOST_CELLS:
            raise InvalidSpec.at(
                "/epsilons", f"{count} attacks and bounds are asked for where {MOST_CELLS} are allowed"
            )

    @staticmethod
    def _wrong_bounds(attack: Any, grid: Grid, pointer: str) -> list[FieldError]:
        errors = []
        for index, epsilon in enumerate(grid):
            try:
                on_grid((attack,), {attack.kind: (epsilon,)})
            except InvalidSpec as error:
                said = "; ".join(each["detail"] for each in error.errors if each["pointer"] == "/epsilon")
                errors.append(
                    FieldError(
                        pointer=f"{pointer}/{index}",
                        detail=f"{said or error.detail} (an epsilon of {attack.kind})",
                    )
                )
        return errors
