"""Whether the steps of an attack can take a value, or a clip, as far as its bound allows. Torch-free."""

from multav.attacks.catalogue import AnyAttack
from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.attacks.rules import Additive


def short_of_bound(attack: AnyAttack) -> str | None:
    """A remark on an attack whose bound never acts because all its steps together are shorter; None on others.

    A random start may lie anywhere within the bound. Of MultAV-l2 nothing can be said: how far steps of a given
    length in logarithms lead depends on how few values share them.
    """
    if not isinstance(attack, FixedStepAttack) or attack.random_start:
        return None
    rule, ball = attack.rule, attack.ball
    if not ball.elementwise and not isinstance(rule, Additive):
        return None
    steps = sum(attack.share(step) for step in range(attack.steps))
    farthest = rule.part(attack.step_size, steps)
    if rule.coordinate_bound(farthest) >= rule.coordinate_bound(attack.epsilon) * (1 - 1e-9):
        return None
    number = "one step" if attack.steps == 1 else f"{attack.steps} steps"
    return (
        f"{attack.kind}: {number} of {attack.step_size:.4g} cannot lead farther than {farthest:.4g}, and so never to "
        f"its epsilon of {attack.epsilon:.4g}: a larger one changes nothing. Take more steps or longer ones, unless "
        "that is meant"
    )
