"""An attack with more or less to spend. Torch-free."""

from multav.attacks.catalogue import AnyAttack, parse_attack


def with_fields(attack: AnyAttack, **fields: object) -> AnyAttack:
    """The attack with other fields, checked. Raises `InvalidSpec`."""
    return parse_attack(attack.model_dump() | fields)


def with_budget(attack: AnyAttack, times: float) -> AnyAttack:
    """The attack with `times` its bound, in the coordinate in which the rule adds, and steps that grow with it."""
    linf, additive = attack.ball.name == "linf", attack.rule.name == "additive"
    # What a kind allows at most: the whole range of pixels, or a million as a ratio or a length.
    most = 1.0 if linf and additive else 1e6
    larger = attack.epsilon**times if linf and not additive else attack.epsilon * times
    fields: dict[str, object] = {"epsilon": min(larger, most)}
    step_size = getattr(attack, "step_size", None)
    if step_size is not None:
        fields["step_size"] = min(attack.rule.part(step_size, times), most)
    return with_fields(attack, **fields)
