"""Whether an attack can be made at all on what a model is shown and knows."""

from collections.abc import Sequence
from typing import Final

from multav.attack_request import refuse_misfit
from multav.attacks.catalogue import AnyAttack
from multav.errors import FieldError, InvalidSpec
from multav.geometry import InputGeometry

_FEWEST_CLASSES: Final = {"dlr": 3, "dlr-targeted": 4}


def refuse_few_classes(attack: AnyAttack, classes: Sequence[str], pointer: str) -> None:
    """Raise `InvalidSpec` for a loss that needs more classes than there are; `pointer` leads to the attack."""
    fewest = _FEWEST_CLASSES.get(attack.loss, 2)
    if len(classes) < fewest:
        raise InvalidSpec.at(
            f"{pointer}/loss", f"loss {attack.loss} needs {fewest} classes, and there are {len(classes)}"
        )


def refuse_large_region(attack: AnyAttack, geometry: InputGeometry, pointer: str, whose: str) -> None:
    """Raise `InvalidSpec` for a region that is larger than what `whose` model sees; `pointer` leads to the attack."""
    try:
        refuse_misfit(attack, geometry)
    except InvalidSpec as error:
        errors = [
            FieldError(
                pointer=each["pointer"].replace("/attack", pointer, 1),
                detail=f"{each['detail']} (what {whose} sees)",
            )
            for each in error.errors
        ]
        raise InvalidSpec(errors[0]["detail"], errors=errors) from error
