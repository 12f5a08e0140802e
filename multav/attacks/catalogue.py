"""Every kind of attack by name. Torch-free."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from multav.attacks.af import Af
from multav.attacks.apgd_linf import ApgdLinf
from multav.attacks.apgd_ratio import ApgdRatio
from multav.attacks.multav_af import MultavAf
from multav.attacks.multav_l2 import MultavL2
from multav.attacks.multav_linf import MultavLinf
from multav.attacks.multav_roa import MultavRoa
from multav.attacks.multav_spa import MultavSpa
from multav.attacks.pgd_l2 import PgdL2
from multav.attacks.pgd_linf import PgdLinf
from multav.attacks.roa import Roa
from multav.attacks.spa import Spa
from multav.attacks.spec import AttackSpec
from multav.errors import FieldError, InvalidSpec, NotFound
from multav.validation import field_errors, near

ATTACKS: Final[dict[str, type[AttackSpec]]] = {
    "multav-linf": MultavLinf,
    "multav-l2": MultavL2,
    "multav-roa": MultavRoa,
    "multav-af": MultavAf,
    "multav-spa": MultavSpa,
    "pgd-linf": PgdLinf,
    "pgd-l2": PgdL2,
    "roa": Roa,
    "af": Af,
    "spa": Spa,
    "apgd-ratio": ApgdRatio,
    "apgd-linf": ApgdLinf,
}
"""Specification classes by kind."""

AnyAttack = (
    MultavLinf
    | MultavL2
    | MultavRoa
    | MultavAf
    | MultavSpa
    | PgdLinf
    | PgdL2
    | Roa
    | Af
    | Spa
    | ApgdRatio
    | ApgdLinf
)
Attack = Annotated[AnyAttack, Field(discriminator="kind")]
"""Any attack, told apart by its `kind`."""

_ADAPTER: Final[TypeAdapter[AnyAttack]] = TypeAdapter(Attack)


def parse_attack(body: Any) -> AnyAttack:
    """The specification in `body`, e.g. `{"kind": "multav-linf", "epsilon": 1.04}`.

    A body with only a kind means the paper's settings. Raises `InvalidSpec` with a JSON pointer for each wrong
    field; for an unknown kind it lists the known ones.
    """
    try:
        return _ADAPTER.validate_python(body)
    except ValidationError as error:
        errors = field_errors(error, tags=frozenset(ATTACKS), hint=where_known)
        raise InvalidSpec(f"the attack is not valid: {in_words(errors)}", errors=errors) from error


def where_known(field: str, others: Iterable[str] = ()) -> str:
    """Which kinds have a field of that name, or names like it among theirs and `others`; empty when there are none."""
    kinds = [kind for kind, spec in ATTACKS.items() if field in spec.model_fields]
    if kinds:
        return f"it belongs to {', '.join(kinds)}"
    return near(field, [*others, *(name for spec in ATTACKS.values() for name in spec.model_fields)])


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
        "ball": defaults.ball.name,
        "region": defaults.region.name,
        "defaults": defaults.model_dump(),
        "settings": spec.settings,
        "schema": spec.model_json_schema(),
    }
