"""multav: multiplicative adversarial videos, and their additive twins.

Names are loaded when they are first used, so that importing specifications never loads torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multav import figures as figures
    from multav.attack_request import AttackRequest
    from multav.attacks.catalogue import parse_attack
    from multav.clip_attack import Crafted, craft
    from multav.errors import MultavError
    from multav.geometry import InputGeometry
    from multav.layer_outputs import feature_maps
    from multav.prepared_model import prepare
    from multav.video_attack import AttackOutcome, attack_video

_HOMES = {
    "AttackOutcome": "multav.video_attack",
    "AttackRequest": "multav.attack_request",
    "Crafted": "multav.clip_attack",
    "InputGeometry": "multav.geometry",
    "MultavError": "multav.errors",
    "attack_video": "multav.video_attack",
    "craft": "multav.clip_attack",
    "feature_maps": "multav.layer_outputs",
    "parse_attack": "multav.attacks.catalogue",
    "prepare": "multav.prepared_model",
}

__all__ = [
    "AttackOutcome",
    "AttackRequest",
    "Crafted",
    "InputGeometry",
    "MultavError",
    "attack_video",
    "craft",
    "feature_maps",
    "parse_attack",
    "prepare",
]


def __getattr__(name: str) -> Any:
    if name == "figures":
        return import_module("multav.figures")
    if name not in _HOMES:
        raise AttributeError(f"module 'multav' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
