"""What the doubts of an audit ask of a model: their shares, their sizes, and what all of that costs. Torch-free.

The checks take their sizes from here, and so does the estimate: neither can change without the other.
"""

from typing import Final

from multav.attacks.catalogue import AnyAttack
from multav.audits.request import Checks

SHARES: Final = (
    ("logits", "repeatable", "neighbours", "gradients", "true_gradients"),
    ("rising_loss",),
    ("more_steps",),
    ("restarts",),
    ("single_step",),
    ("other_loss",),
    ("unbounded",),
    ("budgets",),
    ("noise",),
    ("black_box",),
    ("transfer",),
)
"""All doubts in shares that can be asked one by one; each begins with the attack that is doubted."""

BUDGETS: Final = (0.5, 1.0, 2.0)
NOISE_DRAWS: Final = 10
UNBOUNDED_STEPS: Final = 50
UNBOUNDED_AT: Final = (0.25, 1.0)
REPEATS: Final = 4
PROBES: Final = 8
MODEL_GRADIENTS: Final = 5
MODEL_PREDICTIONS: Final = 2 * PROBES + REPEATS + 8
"""What all checks of the model itself ask for, per clip at most."""


def most_gradients(attack: AnyAttack, checks: Checks, *, others: int, shares: int = len(SHARES)) -> int:
    """How many gradients of a clip all checks ask for at most, with so many other models, asked in so many shares.

    A clip that was fooled costs less: what looks for more success leaves it out.
    """
    own = attack.most_steps
    targets = _targets(attack)
    return (
        own * shares
        + own * checks.more_steps
        + (0 if attack.region.drawn else own * checks.restarts)
        + targets
        + own
        + UNBOUNDED_STEPS * len(UNBOUNDED_AT) * targets
        + own * (len(BUDGETS) - 1)
        + own * others
        + MODEL_GRADIENTS
    )


def most_predictions(attack: AnyAttack, checks: Checks, *, others: int, shares: int = len(SHARES)) -> int:
    """How many predictions of a clip all checks ask for at most, as `most_gradients`."""
    # Every share begins with a look at the clean clip, and every run ends with one at its last clip.
    runs = (4 + shares + others) * attack.restarts + checks.restarts + 1 + len(UNBOUNDED_AT)
    # Targets are chosen by what the model says of the clean clip.
    looks = runs * (_targets(attack) + (attack.loss == "dlr-targeted")) + shares - 1
    return checks.queries + NOISE_DRAWS + MODEL_PREDICTIONS + looks + 2 * others


def _targets(attack: AnyAttack) -> int:
    return attack.target_classes if attack.loss == "dlr-targeted" else 1
