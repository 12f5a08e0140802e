"""The card of a checkpoint, from what the user says, what the file says, and what was recognised. Torch-free.

The user's word counts before the file's card, and that before what is recognised. What nobody said and nothing shows is
asked for, all at once; what is assumed is said.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from pydantic import ValidationError

from models.class_list import class_list, list_of_size, numbered
from models.published_checkpoints import TRAININGS, Training
from models.recognised import Recognised
from models.source_format import SourceFormat
from multav.errors import BadCheckpoint, FieldError, InvalidSpec
from multav.model_card import ModelCard
from multav.model_upload import ModelUpload
from multav.validation import field_errors

_GEOMETRY: Final = ("frames", "stride", "short_side", "height", "width", "mean", "std")


@dataclass(frozen=True)
class Findings:
    """What was found in a file: `classes` is the number of logits, `file_name` what the file is called."""

    file_name: str
    source_sha256: str
    form: SourceFormat
    classes: int | None
    recognised: Recognised | None = None
    card: ModelCard | None = None


def settled_card(upload: ModelUpload, findings: Findings) -> ModelCard:
    """The card, whose `assumed` says what was recognised or assumed.

    Raises `InvalidSpec` pointing at every field that must be given, and `BadCheckpoint` where the user names another
    architecture than the tensors show.
    """
    settling = _Settling(upload, findings)
    fields = {
        **settling.network(),
        "name": settling.name(),
        "classes": settling.classes(),
        "geometry": settling.geometry(),
        **settling.words(),
    }
    if settling.asked:
        raise InvalidSpec("; ".join(each["detail"] for each in settling.asked), errors=settling.asked)
    try:
        return ModelCard.model_validate(fields | {"assumed": tuple(settling.assumed)})
    except ValidationError as error:
        errors = field_errors(error)
        raise InvalidSpec("; ".join(each["detail"] for each in errors), errors=errors) from error


class _Settling:
    """One card being settled; `asked` and `assumed` fill up on the way."""

    def __init__(self, upload: ModelUpload, findings: Findings) -> None:
        self.upload, self.findings = upload, findings
        self.asked: list[FieldError] = []
        self.assumed: list[str] = []
        self._card = findings.card

    def network(self) -> dict[str, Any]:
        """Architecture and arguments."""
        given, found = self.upload.arguments, self.findings.recognised
        if self._card is not None:
            same = self.upload.architecture in (None, self._card.architecture)
            return {
                "architecture": self.upload.architecture or self._card.architecture,
                "arguments": (dict(self._card.arguments) if same else {}) | given,
            }
        if found is None:
            if self.upload.architecture is None:
                raise BadCheckpoint(
                    "the names of the tensors are those of no architecture that is recognised (Hara's 3D ResNets of "
                    "both generations, torchvision's r3d_18, mc3_18 and r2plus1d_18): give architecture and arguments "
                    "if it is one of those that this server knows"
                )
            return {"architecture": self.upload.architecture, "arguments": given}
        if self.upload.architecture not in (None, found.architecture):
            raise BadCheckpoint(
                f"the tensors are those of {found.in_words()}, not of {self.upload.architecture!r}: leave architecture "
                "out, or send the file that you meant"
            )
        self.assumed.append(f"Architecture read from the tensors: {found.in_words()}.")
        for name, words in found.undecided.items():
            if name not in given:
                self._ask(f"/arguments/{name}", words)
        usual = {name: value for name, value in found.unseen.items() if name not in given}
        if usual:
            words = ", ".join(f"{name}={value!r}" for name, value in usual.items())
            self.assumed.append(
                f"No tensor shows {words}: Hara's usual value was taken; arguments changes it."
            )
        if usual.get("cut_shortcut_gradient") is False:
            self.assumed.append(
                "Gradients pass the shortcuts of type A, although Hara's code lets none through: the attack is the "
                "stronger one; cut_shortcut_gradient=true does as his code."
            )
        return {"architecture": found.architecture, "arguments": found.arguments | usual | given}

    def name(self) -> str:
        """The name to register under."""
        if self.upload.name is not None:
            return self.upload.name
        if self._card is not None:
            return self._card.name
        made = re.sub(r"[^a-z0-9._-]+", "-", PurePath(self.findings.file_name).stem.lower()).strip("-._")[
            :100
        ]
        if made:
            self.assumed.append(f"The name {made!r} was made from the file's name.")
        else:
            self._ask("/name", "the file's name makes no name for the model: give name")
        return made

    def classes(self) -> tuple[str, ...]:
        """Class names, as many as there are logits."""
        given, count = self.upload.classes, self.findings.classes
        if given is None and self._card is not None:
            given = self._card.classes
        if count is None:
            count = len(given) if isinstance(given, tuple) else 0
        if given is None:
            return self._recognised_classes(count)
        if isinstance(given, str):
            given = numbered(count) if given == "numbered" else class_list(given)
        if len(given) != count:
            self._ask(
                "/classes",
                f"the network has {count} logits, but {len(given)} classes are named: name {count}",
            )
        return given

    def _recognised_classes(self, count: int) -> tuple[str, ...]:
        known = list_of_size(count)
        if known is None:
            self._ask(
                "/classes",
                f"the network has {count} logits and the file does not name its classes: give classes, a list of "
                f'{count} names in the order of the logits, or "numbered"',
            )
            return ()
        self.assumed.append(
            f"{count} logits: the classes of {known}, in the order of models/class_lists; classes changes it."
        )
        return class_list(known)

    def geometry(self) -> dict[str, Any]:
        """What the model expects of its clips."""
        given = self.upload.geometry.given()
        if self._card is not None:
            return self._card.geometry.model_dump() | given
        training = TRAININGS.get(self.findings.form)
        settled = dict(given)
        if training is not None:
            settled = self._trained_geometry(training, given)
        missing = [name for name in _GEOMETRY if name not in settled]
        hint = f" ({_ways(self.findings)})" if {"mean", "std"} & set(missing) else ""
        for name in missing:
            self._ask(
                f"/geometry/{name}",
                f"the file does not say what {name} its clips had in training: give geometry.{name}"
                f"{hint if name == missing[-1] else ''}",
            )
        return settled

    def _trained_geometry(self, training: Training, given: dict[str, Any]) -> dict[str, Any]:
        usual = dict(training.geometry)
        if {"height", "width"} & given.keys() and "short_side" not in given:
            usual["short_side"] = max(given.get("height", 112), given.get("width", 112))
        found, classes = self.findings.recognised, self.findings.classes or 0
        taken = [name for name in usual if name not in given]
        if taken:
            values = ", ".join(f"{name} {usual[name]}" for name in taken)
            self.assumed.append(f"Clips as in {self.findings.form} training ({training.clips}): {values}.")
        if found is not None and training.knows(found, classes) and not {"mean", "std"} & given.keys():
            usual |= {"mean": training.mean, "std": training.std}
            self.assumed.append(f"Normalisation of {training.source}.")
        return usual | given

    def words(self) -> dict[str, Any]:
        """Everything that is only carried along."""
        said = self.upload.model_dump(
            include={"description", "licence", "provenance", "version"}, exclude_unset=True, exclude_none=True
        )
        kept: dict[str, Any] = {}
        if self._card is not None:
            # Which job of another service trained it says nothing here.
            kept = self._card.model_dump(
                include={"description", "licence", "provenance", "version", "metrics"}
            )
            if self._card.metrics:
                self.assumed.append(
                    "Its accuracies are those that the file's card states: not measured here."
                )
        return (
            kept | said | {"source_sha256": self.findings.source_sha256, "source_format": self.findings.form}
        )

    def _ask(self, pointer: str, detail: str) -> None:
        self.asked.append(FieldError(pointer=pointer, detail=detail))


def _ways(findings: Findings) -> str:
    """What mean and std usually are in such files."""
    ways = [
        f"mean {_rounded(training.mean)}, std {_rounded(training.std)} for {training.source.partition(':')[0]}"
        for form, training in TRAININGS.items()
        if findings.recognised is not None and form.startswith(findings.recognised.family)
    ]
    return "; ".join(
        [*ways, "mean (0, 0, 0), std (1, 1, 1) for raw pixels in [0, 1], as in the MultAV paper"]
    )


def _rounded(values: tuple[float, float, float]) -> str:
    return f"({', '.join(f'{value:.6g}' for value in values)})"
