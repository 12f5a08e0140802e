"""Every kind of attack by name. Torch-free."""

from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from multav.attacks.multav_linf import MultavLinf
from multav.attacks.pgd_linf import PgdLinf
from multav.attacks.spec import AttackSpec
from multav.errors import FieldError, InvalidSpec, NotFound
from multav.validation import field_errors

ATTACKS: Final[dict[str, type[AttackSpec]]] = {
    "multav-linf": MultavLinf,
    "pgd-linf": PgdLinf,
}
"""Specification classes by kind."""

Attack = Annotated[MultavLinf | PgdLinf, Field(discriminator="kind")]
"""Any attack, told apart by its `kind`."""

_ADAPTER: Final[TypeAdapter[MultavLinf | PgdLinf]] = TypeAdapter(Attack)


def parse_attack(body: Any) -> MultavLinf | PgdLinf:
    """The specification in `body`, e.g. `{"kind": "multav-linf", "epsilon": 1.04}`.

    A body with only a kind means the paper's settings. Raises `InvalidSpec` with a JSON pointer for each wrong
    field; for an unknown kind it lists the known ones.
    """
    try:
        return _ADAPTER.validate_python(body)
    except ValidationError as error:
        errors = field_errors(error, tags=frozenset(ATTACKS))
        raise InvalidSpec(f"the attack is not valid: {in_words(errors)}", errors=errors) from error


def in_words(errors: list[FieldError], most: int = 5) -> str:
    """The findings as one line."""
    return "; ".join(f"{each['pointer'] or '/'}: {each['detail']}" for each in errors[:most])


def describe(kind: str) -> dict[str, Any]:
    """What a user needs to know of a kind: meaning, equation, source, the paper's settings, JSON Schema.

    Raises `NotFound` for an unknown kind.
    """
    if kind not in ATTACKS:
        raise NotFound(f"there is no attack kind {kind!r}; known are: {', '.join(ATTACKS)}")
    spec, defaults = ATTACKS[kind], parse_attack({"kind": kind})
    return {
        "kind": kind,
        "meaning": spec.meaning,
        "equation": spec.equation,
        "source": spec.source,
        "rule": spec.rule.name,
        "ball": spec.ball.name,
        "region": defaults.region.name,
        "defaults": defaults.model_dump(),
        "schema": spec.model_json_schema(),
    }
