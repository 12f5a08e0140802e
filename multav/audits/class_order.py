"""The classes of an audit: what dataset and models agree on, by name. Torch-free."""

from collections.abc import Mapping, Sequence
from typing import Final

from multav.errors import FieldError, InvalidSpec

_FEW: Final = 8


def common_classes(
    dataset: str, dataset_classes: Sequence[str], models: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """The dataset's classes in its order, then those that the models know beyond them.

    A model may have the classes in another order (its logits are reordered by name) and may know more than the dataset
    shows, but all models must know the same, since they are compared. Raises `InvalidSpec`, which shows the difference.
    """
    errors: list[FieldError] = []
    names = list(models)
    for index, name in enumerate(names):
        lacking = [each for each in dataset_classes if each not in set(models[name])]
        if lacking:
            beyond = [each for each in models[name] if each not in set(dataset_classes)]
            detail = (
                f"model {name!r} does not know {len(lacking)} of the {len(dataset_classes)} classes of dataset "
                f"{dataset!r}: {_few(lacking)}"
            )
            if beyond:
                detail += f"; it knows {len(beyond)} that the dataset does not have: {_few(beyond)}"
            errors.append(FieldError(pointer=f"/models/{index}", detail=detail))
        elif differ := set(models[name]) ^ set(models[names[0]]):
            detail = (
                f"models {names[0]!r} and {name!r} do not know the same classes; they differ in "
                f"{_few(sorted(differ))}: audit them one by one"
            )
            errors.append(FieldError(pointer=f"/models/{index}", detail=detail))
    if errors:
        raise InvalidSpec("; ".join(each["detail"] for each in errors[:3]), errors=errors)
    shown = set(dataset_classes)
    return (*dataset_classes, *(each for each in models[names[0]] if each not in shown))


def _few(names: Sequence[str]) -> str:
    more = len(names) - _FEW
    return ", ".join(map(repr, names[:_FEW])) + (f" and {more} more" if more > 0 else "")
