from typing import Annotated, Any
from pydantic import Field, TypeAdapter
from multav.attacks.multav_linf import MultavLinf
from multav.attacks.pgd_linf import PgdLinf
from multav.attacks.spec import AttackSpec

ATTACKS: dict[str, type[AttackSpec]] = {"multav-linf": MultavLinf, "pgd-linf": PgdLinf}
Attack = Annotated[MultavLinf | PgdLinf, Field(discriminator="kind")]


def parse_attack(body: Any) -> AttackSpec:
    return TypeAdapter(Attack).validate_python(body)
