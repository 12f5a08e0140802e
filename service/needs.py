"""What a job needs that is registered: models and datasets, by name and SHA-256, as its specification names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from multav.errors import Conflict, InvalidSpec, NotFound
from store import datasets, models


@dataclass(frozen=True)
class Need:
    """A model or dataset of that name, of that SHA-256 if one is known; `pointer` leads to the field that names it."""

    thing: Literal["model", "dataset"]
    name: str
    sha256: str | None
    pointer: str

    def hold(self, session: Session) -> None:
        """Keep it registered until the transaction ends. Raises `InvalidSpec` when it was deleted meanwhile."""
        try:
            self._held_sha256(session)
        except NotFound as error:
            raise InvalidSpec.at(self.pointer, error.detail) from error

    def hold_still(self, session: Session) -> None:
        """As `hold`, for a job that was accepted before. Raises `Conflict` when it is gone, or another one by now."""
        try:
            found = self._held_sha256(session)
        except NotFound as error:
            raise Conflict(
                f"{self.thing} {self.name!r}, which the job needs ({self.pointer}), was deleted: register it again and "
                "resume then, or post another job"
            ) from error
        if self.sha256 not in (None, found):
            raise Conflict(
                f"{self.thing} {self.name!r} ({self.pointer}) is another one than when the job was posted: its SHA-256 "
                f"was {self.sha256} and is {found}. Register the former one again and resume then, or post another job"
            )

    def _held_sha256(self, session: Session) -> str:
        """The SHA-256 of what has the name now. Raises `NotFound`."""
        if self.thing == "model":
            return models.hold(session, self.name).sha256
        return datasets.hold(session, self.name).sha256


def needs_of(kind: str, spec: Mapping[str, Any]) -> tuple[Need, ...]:
    """What a job of that kind needs, whose specification has every name and SHA-256 spelled out."""
    match kind:
        case "attack":
            return (Need("model", spec["model"], spec["model_sha256"], "/model"),)
        case "audit":
            sums = spec["model_sha256"]
            named = tuple(
                Need("model", name, sums.get(name), f"/models/{index}")
                for index, name in enumerate(spec["models"])
            )
            return (*named, _dataset(spec))
        case "training":
            start, validation = spec["start"], spec["validation"]
            found = [_dataset(spec)]
            if validation["dataset"] is not None:
                found.append(_dataset(validation, "/validation"))
            if start["model"] is not None:
                found.append(Need("model", start["model"], start["model_sha256"], "/start/model"))
            return tuple(found)
        case "scan":
            return (_dataset(spec),)
        case _:
            return ()


def _dataset(spec: Mapping[str, Any], pointer: str = "") -> Need:
    return Need("dataset", spec["dataset"], spec["dataset_sha256"], f"{pointer}/dataset")
