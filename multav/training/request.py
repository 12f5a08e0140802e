"""What a user asks for when a model is to be trained: the body of `POST /v1/trainings`. Torch-free."""

import math
from functools import partial
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictStr,
    ValidationError,
    field_validator,
)

from multav.attacks.catalogue import ATTACKS, AnyAttack, Attack, in_words, where_known
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.multav_linf import MultavLinf
from multav.audits.request import Count, Sha256, Subset
from multav.errors import FieldError, InvalidSpec
from multav.geometry import InputGeometry
from multav.given_geometry import GivenGeometry
from multav.names import NAME, NAME_IN_WORDS
from multav.training.idle_fields import idle_fields
from multav.training.optimisers import Multistep, Optimiser, Schedule, Sgd
from multav.validation import field_errors

Share = Annotated[float, Field(strict=True, ge=0, le=1)]
_NO_FIELDS: Final = frozenset(ATTACKS) | {
    *("mixture", "sgd", "adamw", "constant", "multistep", "cosine"),
    *("constrained-int", "tuple[constrained-int, constrained-int]", "literal['auto']"),
}
"""What pydantic puts into a field's place beside the names of fields: kinds, and types where there are several."""
AUTO_BATCH: Final = 32
"""Clips of a step where the request leaves it to us."""
PAPER_GEOMETRY: Final = InputGeometry(frames=40, stride=1, short_side=112, height=112, width=112)
"""What the paper's networks see: pixels in [0, 1] as they are, without a mean or a standard deviation."""


def _is_plain(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not (isinstance(value, str) and "\0" in value)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Mixture(_Part):
    """Several attacks: a model that knows one alone is often weak against the others."""

    kind: Literal["mixture"] = "mixture"
    attacks: Annotated[tuple[Attack, ...], Field(min_length=2, max_length=10)] = Field(
        description="such as an additive and a multiplicative one"
    )
    choice: Literal["random", "worst"] = Field(
        "random",
        description="random: each batch meets one of them, drawn by lot; worst: it meets all, and every clip counts "
        "under the attack that leaves it the highest loss",
    )


class Start(_Part):
    """What a training starts from: a registered model's weights, or an architecture's random ones."""

    model: StrictStr | None = Field(
        None, description="name of a registered model, whose weights, architecture and input it starts with"
    )
    model_sha256: Sha256 | None = Field(
        None, description="refuse the request unless the model has this SHA-256"
    )
    architecture: StrictStr | None = Field(
        None, description="name of an architecture, to start from random weights"
    )
    arguments: dict[Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,99}$")], JsonValue] = Field(
        default_factory=dict,
        max_length=50,
        description="the architecture's own arguments; beside a model those in which the network is to differ from it "
        "(such as denoise): layers that the model lacks start with random weights, and none may get lost",
    )
    geometry: GivenGeometry | None = Field(
        None,
        description="what the network sees of a video; whatever is left out is the model's own, or of an architecture "
        "the paper's 40 frames of 112x112",
    )
    head: Literal["auto", "new", "keep"] = Field(
        "auto",
        description="whether the last layer starts anew: auto where the dataset knows other classes than the model",
    )

    @field_validator("arguments")
    @classmethod
    def _can_be_kept(cls, arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """A database keeps no infinities and no NUL."""
        if not all(map(_is_plain, arguments.values())):
            raise ValueError("numbers must be finite and texts hold no NUL")
        return arguments

    def geometry_on(self, base: InputGeometry) -> InputGeometry:
        """What the network sees, where `base` is what it sees of itself. Raises `ValueError` in words for the user."""
        return base if self.geometry is None else self.geometry.on(base)


class Augmentation(_Part):
    """Random changes of the training clips, each of its own strength; the paper's recipe has none."""

    flip: Share = Field(
        0.0, description="probability of a mirror image; not for classes that know left from right"
    )
    shift: Annotated[int, Field(strict=True, ge=0, le=64)] = Field(
        0, description="pixels by which a clip is moved at most, its edges repeated"
    )
    brightness: Annotated[float, Field(strict=True, ge=0, le=0.9)] = Field(
        0.0, description="share by which all values are multiplied up or down at most"
    )


class Validation(_Part):
    """Clips that are not trained on, and what they are asked."""

    dataset: StrictStr | None = Field(
        None,
        description="name of a dataset of the same classes; null sets a share of the training videos aside. The "
        "paper's authors chose by the test list, which is possible here, and is said in the result",
    )
    dataset_sha256: Sha256 | None = Field(
        None, description="refuse the request unless the dataset lists what has this SHA-256"
    )
    share: Annotated[float, Field(strict=True, gt=0, le=0.5)] = Field(
        0.1, description="of the training videos, whole groups of every class, where no dataset is named"
    )
    clips: Count = Field(500, description="clips that are looked at, at most")
    every_epochs: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        1, description="epochs from one look to the next; there is one more at the end"
    )
    attack: Attack | None = Field(
        None,
        description="what they are attacked with; null: what is trained on (of a mixture all, worst case)",
    )


class TrainingRequest(_Part):
    """One training, every default spelled out. The defaults are the paper's recipe."""

    name: Annotated[str, Field(pattern=NAME)] | None = Field(
        None, description=f"name under which the model is registered: {NAME_IN_WORDS}; null: one is made up"
    )
    start: Start = Field(default_factory=Start, description="a registered model or an architecture")
    dataset: StrictStr = Field("camera-motion-train", description="name of a registered dataset")
    dataset_sha256: Sha256 | None = Field(
        None, description="refuse the request unless the dataset lists what has this SHA-256"
    )
    subset: Subset = Field(default_factory=Subset, description="which of its videos")
    recipe: Literal["model", "paper"] = Field(
        "model",
        description="how a video becomes a clip: the middle as the model's geometry has it, or the paper's sampling",
    )
    attack: Annotated[AnyAttack | Mixture, Field(discriminator="kind")] | None = Field(
        default_factory=MultavLinf,
        description="threat model to harden against, with its parameters; a mixture; or null for clean training",
    )
    method: Literal["madry", "trades", "fast", "free"] = Field(
        "madry",
        description="madry: the loss of adversarial clips alone; trades: the clean loss, and beta times how far the "
        "answer to adversarial clips is from the clean one; fast: one step of 1.25 times the bound from a random "
        "start; free: each batch is trained on several times, at first from a random start, and each time the "
        "perturbation takes one step of the whole bound",
    )
    clean_fraction: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        0.0, description="share of each batch that stays clean"
    )
    beta: Annotated[float, Field(strict=True, gt=0, le=1000)] = Field(
        6.0, description="of trades, what the distance of the two answers counts beside the clean loss"
    )
    crafting: Literal["divergence", "loss"] = Field(
        "divergence",
        description="of trades, what its attack climbs: divergence: how far the answer is from the clean one, from a "
        "random start within the bound; loss: the attack's own loss",
    )
    replays: Annotated[int, Field(strict=True, ge=2, le=32)] = Field(
        4, description="of free: how often each batch is trained on; so many fewer batches make an epoch"
    )
    ramp: Share = Field(
        0.0,
        description="share of the steps over which bound and step size of the attack grow to what they are: helps "
        "small networks out of chance",
    )
    epochs: Annotated[int, Field(strict=True, ge=1, le=10_000)] = Field(
        15, description="passes over the videos"
    )
    steps: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] | None = Field(
        None, description="so many steps in place of whole epochs, which are not given then"
    )
    batch_size: Annotated[int, Field(strict=True, ge=2, le=4096)] | Literal["auto"] = Field(
        4, description=f"clips of one step; auto: {AUTO_BATCH}, in as many pieces as memory asks for"
    )
    accumulation: Annotated[int, Field(strict=True, ge=1, le=256)] = Field(
        1, description="pieces that a batch goes through the model in, each with its own batch statistics"
    )
    optimiser: Optimiser = Field(default_factory=Sgd, description="what takes the steps")
    schedule: Schedule = Field(default_factory=Multistep, description="how the learning rate changes")
    average: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = Field(
        None,
        description="what a running average of the weights keeps in each step, (1 + n) / (10 + n) in step n at most; "
        "the average is the result",
    )
    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        0.0, description="share of the label that is spread over all classes"
    )
    gradient_norm: Annotated[float, Field(strict=True, gt=0)] | None = Field(
        None, description="length to which longer gradients of the weights are cut"
    )
    augmentation: Augmentation = Field(default_factory=Augmentation, description="changes of training clips")
    validation: Validation = Field(default_factory=Validation, description="clips that choose the checkpoint")
    select: Literal["best", "last"] = Field(
        "best",
        description="best: the checkpoint with the highest accuracy under attack on the validation clips (clean where "
        "the training is); last: the last",
    )
    patience: Count | None = Field(
        None, description="stop after so many looks at the validation clips without a new best; null: never"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="arithmetic of the attack's gradients and of the training pass; weights are float32 always",
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = Field(
        1, description="seed of weights, order, attacks and augmentation"
    )
    checkpoint_minutes: Annotated[float, Field(strict=True, gt=0, le=1440)] = Field(
        5.0, description="minutes of work that a killed worker costs at most"
    )
    devices: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        1,
        description="GPUs of the worker's machine, or processor cores where it has none, that share every batch; the "
        "batch divides by it",
    )
    hosts: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        1, description="workers on machines of their own that the devices are spread over, as many on each"
    )
    audit: StrictBool = Field(
        True,
        description="audit the finished model on its validation clips, against what it was trained on and what they "
        "are attacked with",
    )

    @classmethod
    def parse(cls, body: Any) -> Self:
        """The training in `body` (parsed JSON). Raises `InvalidSpec` with a JSON pointer for each wrong field."""
        if not isinstance(body, dict):
            raise InvalidSpec("the training specification must be a JSON object")
        try:
            request = cls.model_validate(body)
        except ValidationError as error:
            errors = field_errors(error, tags=_NO_FIELDS, hint=partial(where_known, others=cls.model_fields))
            raise InvalidSpec(
                f"the training specification is not valid: {in_words(errors)}", errors=errors
            ) from error
        errors = request._contradictions()
        if errors:
            raise InvalidSpec("; ".join(each["detail"] for each in errors[:5]), errors=errors)
        return request

    @property
    def attacks(self) -> tuple[AnyAttack, ...]:
        """What is trained against: none, one, or those of the mixture."""
        if self.attack is None:
            return ()
        return self.attack.attacks if isinstance(self.attack, Mixture) else (self.attack,)

    @property
    def validation_attacks(self) -> tuple[AnyAttack, ...]:
        """What the validation clips meet, each clip at its worst."""
        return self.attacks if self.validation.attack is None else (self.validation.attack,)

    @property
    def clips_per_step(self) -> int:
        """The batch size in clips."""
        return AUTO_BATCH if self.batch_size == "auto" else self.batch_size

    def _contradictions(self) -> list[FieldError]:
        """Fields that are each right but not together, or that would change nothing."""
        errors: list[FieldError] = []

        def refuse(pointer: str, detail: str) -> None:
            errors.append(FieldError(pointer=pointer, detail=detail))

        if self.start.model is not None and self.start.architecture is not None:
            refuse("/start", "model and architecture each say what to start from: give one of them")
        if self.start.architecture is not None and self.start.head == "keep":
            refuse("/start/head", "random weights have no head to keep")
        if self.method != "madry" and self.attack is None:
            refuse("/method", f"{self.method} needs an attack: name one, or take method madry")
        if self.method in ("fast", "free") and self.attack is not None:
            one = self.attacks[0]
            if isinstance(self.attack, Mixture):
                refuse("/attack", f"method {self.method} takes one attack, not a mixture")
            elif not isinstance(one, FixedStepAttack):
                refuse(
                    "/attack/kind",
                    f"method {self.method} takes steps of a fixed size, which {one.kind} has not",
                )
            elif self.method == "free" and one.region.name != "whole-clip":
                refuse("/attack/kind", f"method free moves all pixels, which {one.kind} does not")
        if self.method == "trades" and self.clean_fraction:
            refuse("/clean_fraction", "trades looks at every clip clean and attacked: leave it at 0")
        elif self.clean_fraction and self.attack is not None:
            clips, clean = self.clips_per_step, round(self.clean_fraction * self.clips_per_step)
            if clean in (0, clips):
                refuse(
                    "/clean_fraction",
                    f"of {clips} clips that is {'all' if clean else 'none'}: take a larger batch, or a multiple of "
                    f"{1 / clips:.3g}",
                )
        for pointer, attack in self.trained_against:
            if self.crafts_by_divergence and getattr(attack, "placement", None) == "gradient":
                refuse(
                    f"{pointer}/placement",
                    "where the clip is clean the divergence has no gradient to rank places by: take another placement, "
                    "or loss for crafting",
                )
        for _, attack in self.trained_against:
            if self.ramp and attack.ball.name == "l2-literal":
                refuse(
                    "/ramp",
                    f"the smaller the bound of {attack.kind} as it is printed, the darker it makes a clip: leave ramp "
                    "out, or take another bound",
                )
                break
        for pointer, attack in self.named_attacks:
            if attack.targeted:
                refuse(f"{pointer}/targeted", "a training knows no class to reach: leave targeted out")
        each = self.clips_per_step // self.devices
        if self.clips_per_step % self.devices:
            refuse("/devices", f"a batch of {self.clips_per_step} clips cannot be shared by {self.devices}")
        elif each < 2:
            refuse("/devices", f"less than 2 clips for each: at most {self.clips_per_step // 2}")
        elif self.devices % self.hosts:
            refuse(
                "/hosts", f"{self.devices} devices cannot be spread over {self.hosts} hosts: as many on each"
            )
        elif self.accumulation > each // 2:
            refuse("/accumulation", f"pieces of less than 2 clips: at most {each // 2}")
        if self.validation.dataset == self.dataset:
            refuse(
                "/validation/dataset",
                "these are the training videos: name others, or none to set a share aside",
            )
        return [*errors, *idle_fields(self)]

    @property
    def crafts_by_divergence(self) -> bool:
        """Whether attacks climb how far the answer is from the clean one, as those of the authors of TRADES do."""
        return self.method == "trades" and self.crafting == "divergence"

    @property
    def named_attacks(self) -> list[tuple[str, AnyAttack]]:
        """Every attack of the request, behind a JSON pointer to it."""
        if self.validation.attack is None:
            return self.trained_against
        return [*self.trained_against, ("/validation/attack", self.validation.attack)]

    @property
    def trained_against(self) -> list[tuple[str, AnyAttack]]:
        """Every attack that is trained against, behind a JSON pointer to it."""
        if isinstance(self.attack, Mixture):
            return [(f"/attack/attacks/{place}", each) for place, each in enumerate(self.attack.attacks)]
        return [] if self.attack is None else [("/attack", self.attack)]
