"""What the files of an attack are for, by role. Torch-free."""

from collections.abc import Mapping
from typing import Final

ATTACK_ROLES: Final[Mapping[str, str]] = {
    "adversarial-video": "the delivered file",
    "preview": "contact sheet (PNG): clean, adversarial and the maps of a few frames, with their scales",
    "loss-plot": "loss and confidence in the attacked label per step (PNG)",
    "difference-map": "size of the change times 15, black is unchanged (MP4)",
    "signed-difference-map": "the change times 15 around grey, brighter became brighter (MP4)",
    "ratio-map": "ratio to the clean pixel relative to the bound, red up, blue down (MP4; multiplicative kinds "
    "that start from the clean pixels)",
    "changed-region": "changed pixels in amber over the dimmed picture (MP4; kinds with a region)",
    "feature-maps": "what the layers in `features` see in the middle window, clean and adversarial (PNG)",
    "feature-tensors": "the same maps as float32 safetensors, `LAYER.clean` and `LAYER.adversarial`",
    "adversarial-tensor": "float32 clips as safetensors (`tensor`, and always in `model_input`)",
}
"""Role -> meaning, the most wanted first."""


def roles_in_words() -> str:
    """All roles with their meanings, for API documents."""
    return "; ".join(f"`{role}`: {meaning}" for role, meaning in ATTACK_ROLES.items())
