"""What a user asks for when a video is to be attacked: the body of `POST /v1/attacks`. Torch-free."""

from functools import partial
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError, field_validator

from multav.attacks.catalogue import ATTACKS, Attack, in_words, where_known
from multav.attacks.multav_linf import MultavLinf
from multav.attacks.spec import AttackSpec
from multav.errors import FieldError, InvalidSpec
from multav.geometry import InputGeometry
from multav.validation import field_errors
from multav.video.formats import FORMATS

Crf = Annotated[int, Field(strict=True, ge=0, le=51)]
LayerName = Annotated[str, Field(strict=True, min_length=1, max_length=200)]
OutputName = Literal["auto", "h264-mp4", "vp9-mp4", "ffv1-mkv", "h264rgb-mp4"]


_CHANNEL_CRF: Final = (23,)
_FEW_CLASSES: Final = 12


class AttackRequest(BaseModel):
    """One attack on one video, every default spelled out.

    `label` is the class that the attack moves away from (or, with `attack.targeted`, toward); left out, it is
    the model's own prediction on the clean video.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: StrictStr | None = Field(
        None, description="name of a registered model; the server's default if null"
    )
    model_sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="refuse the request unless the model's checkpoint has this SHA-256",
    )
    attack: Attack = Field(default_factory=MultavLinf, description="threat model and its parameters")
    label: int | str | None = Field(
        None,
        description="class name or index to leave (to reach, if targeted); null: the model's own prediction",
    )
    domain: Literal["source", "model_input"] = Field(
        "source", description="perturb the original frames, or the clip that the model sees"
    )
    coverage: Literal["dense", "clip"] = Field(
        "dense", description="attack every frame, or only the one clip in the middle of the video"
    )
    channel: Literal["none", "levels", "codec"] = Field(
        "none",
        description="what the attack takes into its loop: nothing, the rounding to the file's values, or H.264 itself",
    )
    channel_crf: Annotated[tuple[Crf, ...], Field(min_length=1, max_length=16)] = Field(
        _CHANNEL_CRF,
        description="rate factors of the codec in the loop; of several the average is attacked, at the cost of each",
    )
    output: OutputName = Field(
        "auto", description="the file to deliver; auto is the smallest that stays adversarial"
    )
    crf: Crf | None = Field(
        None, description="constant rate factor of h264-mp4 (default 23); not allowed with another output"
    )
    bits: Literal[8, 10, 12, 14, 16] = Field(
        8,
        description="bits of a channel in the file; more than 8 let dark pixels move, and need output ffv1-mkv "
        "(at 16 a clean 8-bit level keeps its exact value)",
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = Field(
        0, description="seed of every random draw"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="arithmetic of the attack's gradients; auto is bfloat16 where the processor multiplies it natively "
        "and float32 elsewhere; predictions are always computed in float32",
    )
    tensor: StrictBool = Field(
        False, description="also deliver the float32 adversarial clips as safetensors (always in model_input)"
    )

    features: Annotated[tuple[LayerName, ...], Field(max_length=16)] = Field(
        (),
        description="layers of the model whose feature maps are delivered, clean and adversarial, of the middle window",
        examples=[["layer1", "layer4"]],
    )

    @field_validator("label", mode="before")
    @classmethod
    def _name_or_index(cls, label: Any) -> Any:
        """Refuse what JSON could pass off as an index (true, 1.0) before pydantic tries both types."""
        if label is not None and type(label) not in (int, str):
            raise ValueError("a class name (string) or a class index (integer)")
        return label

    @field_validator("bits", mode="before")
    @classmethod
    def _whole(cls, bits: Any) -> Any:
        """Refuse 16.0 and true, which compare equal to what is allowed."""
        if type(bits) is not int:
            raise ValueError("a whole number: 8, 10, 12, 14 or 16")
        return bits

    @classmethod
    def parse(cls, body: Any) -> Self:
        """The request in `body` (parsed JSON). Raises `InvalidSpec` with a JSON pointer for each wrong field."""
        if not isinstance(body, dict):
            raise InvalidSpec(f"the attack specification must be a JSON object, not {_json_type(body)}")
        try:
            request = cls.model_validate(body)
        except ValidationError as error:
            hint = partial(where_known, others=cls.model_fields)
            errors = field_errors(error, tags=frozenset(ATTACKS), hint=hint)
            raise InvalidSpec(
                f"the attack specification is not valid: {in_words(errors)}", errors=errors
            ) from error
        request._refuse_contradictions()
        return request

    def _refuse_contradictions(self) -> None:
        """Raise `InvalidSpec` for fields that are each right but not together."""
        errors: list[FieldError] = []
        if self.crf is not None and self.output != "h264-mp4":
            errors.append(
                FieldError(
                    pointer="/crf",
                    detail=f'crf belongs to output "h264-mp4", not {self.output!r}: leave it out or set output',
                )
            )
        if self.channel_crf != _CHANNEL_CRF and self.channel != "codec":
            errors.append(
                FieldError(
                    pointer="/channel_crf",
                    detail=f'channel_crf belongs to channel "codec", not {self.channel!r}: leave it out or set channel',
                )
            )
        if self.bits > 8 and (self.output == "auto" or self.bits not in FORMATS[self.output].depths):
            able = " or ".join(f'"{name}"' for name, form in FORMATS.items() if self.bits in form.depths)
            errors.append(
                FieldError(
                    pointer="/bits",
                    detail=f"output {self.output!r} holds 8 bits a channel, not {self.bits}: set output {able}, "
                    "or leave bits out",
                )
            )
        if self.bits > 8 and self.channel == "codec":
            errors.append(
                FieldError(
                    pointer="/channel",
                    detail=f"H.264 takes 8 bits, and a file of {self.bits} never passes it: set channel "
                    '"levels" or "none", or leave bits out',
                )
            )
        if self.channel == "codec" and self.domain == "model_input":
            errors.append(
                FieldError(
                    pointer="/channel",
                    detail='the codec is taken along on source frames only: set domain "source" or channel "levels"',
                )
            )
        if self.channel != "none" and getattr(self.attack, "early_stop", False):
            errors.append(
                FieldError(
                    pointer="/attack/early_stop",
                    detail=f"early_stop does not go with channel {self.channel!r}: leave one of them out",
                )
            )
        if self.channel != "none" and self.attack.loss == "dlr-targeted":
            errors.append(
                FieldError(
                    pointer="/attack/loss",
                    detail=f"loss dlr-targeted does not go with channel {self.channel!r}: take dlr",
                )
            )
        if self.channel != "none" and self.attack.restarts > 1:
            errors.append(
                FieldError(
                    pointer="/attack/restarts",
                    detail=f"restarts do not go with channel {self.channel!r}: leave one of them out",
                )
            )
        if len(set(self.features)) < len(self.features):
            errors.append(FieldError(pointer="/features", detail="a layer is named twice: name each once"))
        if self.attack.targeted and self.label is None:
            errors.append(
                FieldError(
                    pointer="/label",
                    detail="a targeted attack needs the class to move toward: give its name or index",
                )
            )
        if errors:
            raise InvalidSpec("; ".join(each["detail"] for each in errors), errors=errors)


def label_index(label: int | str, classes: tuple[str, ...]) -> int:
    """Index of the class that `label` names among `classes`. Raises `InvalidSpec` pointing at `/label`.

    A name is matched exactly, then without regard to case; an index must be within `classes`.
    """
    if isinstance(label, str):
        if label in classes:
            return classes.index(label)
        folded = [name.casefold() for name in classes]
        if folded.count(label.casefold()) == 1:
            return folded.index(label.casefold())
    elif 0 <= label < len(classes):
        return label
    raise _unknown_label(label, classes)


def refuse_misfit(attack: AttackSpec, geometry: InputGeometry) -> None:
    """Raise `InvalidSpec` for a region that is larger than what the model sees."""
    misfit = attack.region.misfit(geometry.height, geometry.width)
    if misfit is not None:
        field, detail = misfit
        raise InvalidSpec.at(f"/attack/{field}", detail)


def _unknown_label(label: int | str, classes: tuple[str, ...]) -> InvalidSpec:
    from difflib import get_close_matches  # loaded only to word an error

    if isinstance(label, int):
        detail = (
            f"class index {label} is not one of the model's {len(classes)} classes (0 to {len(classes) - 1})"
        )
    else:
        if len(classes) <= _FEW_CLASSES:
            known = f"the model knows: {', '.join(classes)}"
        else:
            near = get_close_matches(label, classes, n=3, cutoff=0.4) or classes[:_FEW_CLASSES]
            known = f"near: {', '.join(near)}"
        detail = f"no class is named {label!r}; {known}"
    return InvalidSpec.at("/label", detail)


def _json_type(value: Any) -> str:
    names = {
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names.get(type(value), "something else")
