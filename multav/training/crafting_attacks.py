"""What a training crafts its clips with: the attacks of the request as its method runs them. Torch-free."""

from typing import Final

from multav.attacks.budget import with_fields
from multav.attacks.catalogue import AnyAttack
from multav.training.request import TrainingRequest

# What fast training steps, in bounds: its authors found 1.25 best (Wong, Rice & Kolter, 2020).
_FAST_STEP: Final = 1.25
# What free training steps, in bounds (Shafahi et al., 2019).
_FREE_STEP: Final = 1.0


def crafting_attacks(request: TrainingRequest) -> tuple[AnyAttack, ...]:
    """None, one, or those of the mixture."""
    if request.method == "fast":
        return tuple(_single_step(attack, _FAST_STEP) for attack in request.attacks)
    if request.method == "free":
        return tuple(_single_step(attack, _FREE_STEP) for attack in request.attacks)
    if request.crafts_by_divergence:
        return tuple(_from_anywhere(attack) for attack in request.attacks)
    return request.attacks


def _from_anywhere(attack: AnyAttack) -> AnyAttack:
    """From a random start, as the divergence has no slope at the clean clip, and with no class to leave for.

    The authors of TRADES start from 0.001 of Gaussian noise, which is none where values near 0 are multiplied.
    """
    no_class = {
        "loss": "cross-entropy",
        "target_classes": type(attack).model_fields["target_classes"].default,
    }
    return with_fields(attack, random_start=True, **no_class)


def _single_step(attack: AnyAttack, bounds: float) -> AnyAttack:
    """One step of so many bounds from a random start."""
    linf = attack.ball.name == "linf"
    whole = attack.epsilon if linf else attack.rule.radius(attack.epsilon)
    most = 1.0 if linf and attack.rule.name == "additive" else 1e6
    step_size = min(attack.rule.part(whole, bounds), most)
    return with_fields(attack, steps=1, restarts=1, random_start=True, step_size=step_size)
