"""Which architecture a state dict belongs to, read from the names and shapes of its tensors. Torch-free.

This is a proposal: whoever uses it builds the network and compares every name and shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from models.hara_shapes import hara
from models.torchvision_shapes import torchvision
from multav.errors import BadCheckpoint

Shapes = Mapping[str, tuple[int, ...]]
Family = Literal["hara", "torchvision"]

_ARCH_OF_FILE: Final = {
    "resnet": "resnet3d",
    "preresnet": "preact-resnet3d",
    "wideresnet": "wide-resnet3d",
    "resnext": "resnext3d",
    "resnet2p1d": "r2plus1d",
    "densenet": "densenet",
}
"""What Hara's files call their architecture (`arch` is one of these, a dash and the depth), and what we call it."""


@dataclass(frozen=True)
class Recognised:
    """An architecture with its arguments; `unseen` are arguments that no shape shows, with the usual value.

    `undecided` are arguments that must be given, with what to say about each.
    """

    family: Family
    architecture: str
    arguments: dict[str, Any]
    unseen: dict[str, Any] = field(default_factory=dict)
    undecided: dict[str, str] = field(default_factory=dict)

    def refuse_other_name(self, arch: str | None) -> str | None:
        """Raise `BadCheckpoint` when the file's own name `arch` speaks of another network.

        Gives a sentence for the user where the name says nothing, else None.
        """
        if arch is None:
            return None
        kind, _, depth = arch.rpartition("-")
        if kind in _ARCH_OF_FILE and depth.isdecimal():
            agrees = _ARCH_OF_FILE[kind] == self.architecture and int(depth) == self.arguments.get("depth")
        elif arch in ("r3d_18", "mc3_18", "r2plus1d_18"):
            agrees = arch == self.architecture
        else:
            return f"the file calls its network {arch!r}, which was not compared with the tensors"
        if not agrees:
            raise BadCheckpoint(
                f"the file says that it holds {arch!r}, but its tensors are those of {self.in_words()}: one of them is "
                "wrong; save the state dict alone if the tensors are right"
            )
        return None

    def in_words(self) -> str:
        """Architecture and arguments."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.architecture} ({arguments})" if arguments else self.architecture


def recognised(shapes: Shapes) -> Recognised | None:
    """The architecture of a state dict, or None for names that belong to none of those known."""
    found = torchvision(shapes)
    if found is not None:
        return Recognised("torchvision", found, {})
    hara_found = hara(shapes)
    if hara_found is None:
        return None
    return Recognised(
        "hara", hara_found.architecture, hara_found.arguments, hara_found.unseen, hara_found.undecided
    )
