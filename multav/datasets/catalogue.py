"""Every kind of dataset by name. Torch-free."""

from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from multav.datasets.class_folder import ClassFolder
from multav.datasets.hmdb51 import Hmdb51
from multav.datasets.kinetics import Kinetics
from multav.datasets.manifest import Manifest
from multav.datasets.spec import DatasetSpec
from multav.datasets.synthetic import Synthetic
from multav.datasets.ucf101 import Ucf101
from multav.errors import InvalidSpec
from multav.validation import field_errors, near

DATASETS: Final[dict[str, type[DatasetSpec]]] = {
    "synthetic": Synthetic,
    "ucf101": Ucf101,
    "hmdb51": Hmdb51,
    "kinetics": Kinetics,
    "class-folder": ClassFolder,
    "manifest": Manifest,
}
"""Specification classes by kind."""

AnyDataset = Synthetic | Ucf101 | Hmdb51 | Kinetics | ClassFolder | Manifest
Dataset = Annotated[AnyDataset, Field(discriminator="kind")]
"""Any dataset, told apart by its `kind`."""

BUILT_IN: Final[dict[str, AnyDataset]] = {
    "camera-motion": Synthetic(),
    "camera-motion-train": Synthetic(seed=1, clips=6000),
}
"""Datasets that are there without being registered, by name: one to test on, one to train on."""

_ADAPTER: Final[TypeAdapter[AnyDataset]] = TypeAdapter(Dataset)


def parse_dataset(body: Any) -> AnyDataset:
    """The specification in `body`, e.g. `{"kind": "ucf101", "split": 1}`.

    Raises `InvalidSpec` with a JSON pointer for each wrong field; for an unknown kind it lists the known ones.
    """
    try:
        return _ADAPTER.validate_python(body)
    except ValidationError as error:
        errors = field_errors(error, tags=frozenset(DATASETS), hint=_where_known)
        words = "; ".join(f"{each['pointer'] or '/'}: {each['detail']}" for each in errors[:5])
        raise InvalidSpec(f"the dataset is not valid: {words}", errors=errors) from error


def _where_known(field: str) -> str:
    """Which kinds have a field of that name, or names like it; empty when there are none."""
    kinds = [kind for kind, spec in DATASETS.items() if field in spec.model_fields]
    if kinds:
        return f"it belongs to {', '.join(kinds)}"
    return near(field, (name for spec in DATASETS.values() for name in spec.model_fields))
