"""Models that an operator brings as code: by name, where the factory is. Torch-free, and nothing is imported here.

Declared by an entry point of the group `multav.models`, or in the setting `MULTAV_OWN_MODELS`; never by a request.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final

from multav.names import NAME

GROUP: Final = "multav.models"
_NAME: Final = re.compile(NAME)
_PATH: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class OwnModel:
    """A model's name, and the dotted path of the factory that makes it."""

    name: str
    path: str
    """`package.module:factory`"""


def own_models(setting: str) -> Mapping[str, OwnModel]:
    """What is declared, by name; the setting wins over an entry point. Raises ValueError for what is misspelt."""
    installed = [OwnModel(point.name, point.value) for point in entry_points(group=GROUP)]
    for own in installed:
        _refuse_misspelt(own, f"the entry point {own.name!r} of the group {GROUP}")
    return {own.name: own for own in [*installed, *in_setting(setting)]}


def in_setting(setting: str) -> list[OwnModel]:
    """`name=package.module:factory`, more behind commas. Raises ValueError for what is misspelt."""
    found = []
    for part in filter(None, (part.strip() for part in setting.split(","))):
        name, _, path = (piece.strip() for piece in part.partition("="))
        own = OwnModel(name, path)
        _refuse_misspelt(own, repr(part))
        found.append(own)
    return found


def _refuse_misspelt(own: OwnModel, where: str) -> None:
    if not _NAME.fullmatch(own.name):
        raise ValueError(
            f"{where}: {own.name!r} is no name for a model: write name=package.module:factory, the name in small "
            "letters, digits and ._-"
        )
    if not _PATH.fullmatch(own.path):
        raise ValueError(f"{where}: {own.path!r} is no path: write name=package.module:factory")
