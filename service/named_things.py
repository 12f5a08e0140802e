"""Models and datasets that a request names: looked up, and held against what the request says of them.

Each refusal is an `InvalidSpec` that points at the field (`pointer`) that names the thing.
"""

from sqlalchemy.orm import Session

from multav.audits.request import AuditSubset, Subset
from multav.datasets.listing import drawn_per_class
from multav.errors import InvalidSpec, NotFound
from store import datasets, models
from store.datasets import RegisteredDataset
from store.models import RegisteredModel


def named_model(
    session: Session, name: str, sha256: str | None, *, pointer: str, sha256_pointer: str
) -> RegisteredModel:
    """The model, of that SHA-256 if one is asked for. Raises `InvalidSpec`."""
    try:
        model = models.get(session, name)
    except NotFound as error:
        raise InvalidSpec.at(pointer, error.detail) from error
    if sha256 not in (None, model.sha256):
        raise InvalidSpec.at(sha256_pointer, f"model {name!r} has the SHA-256 {model.sha256}")
    return model


def named_dataset(
    session: Session, name: str, sha256: str | None, *, pointer: str = "/dataset"
) -> RegisteredDataset:
    """The dataset, of that SHA-256 if one is asked for (in the field beside its name). Raises `InvalidSpec`."""
    try:
        dataset = datasets.get(session, name)
    except NotFound as error:
        raise InvalidSpec.at(pointer, error.detail) from error
    if sha256 not in (None, dataset.sha256):
        raise InvalidSpec.at(
            f"{pointer}_sha256", f"dataset {dataset.name!r} has the SHA-256 {dataset.sha256}"
        )
    return dataset


def videos_per_class(dataset: RegisteredDataset, subset: Subset) -> dict[str, int]:
    """How many videos the subset holds, by class; names of videos are not looked at.

    Raises `InvalidSpec` for classes that the dataset does not have, or without a video, and for more videos than are
    there.
    """
    there: dict[str, int] = dict(zip(dataset.classes, dataset.listing["videos_per_class"], strict=True))
    unknown = [name for name in subset.classes or () if name not in there]
    if unknown:
        raise InvalidSpec.at(
            "/subset/classes", f"dataset {dataset.name!r} has no class {', '.join(map(repr, unknown[:8]))}"
        )
    kept = {name: there[name] for name in dataset.classes if subset.classes is None or name in subset.classes}
    if subset.per_class is not None:
        kept = {name: min(count, subset.per_class) for name, count in kept.items()}
    if sum(kept.values()) == 0:
        raise InvalidSpec.at("/subset", "the subset holds no video: choose other classes")
    if subset.count is None:
        return kept
    if subset.count > sum(kept.values()):
        raise InvalidSpec.at(
            "/subset/count", f"{subset.count} videos are asked for and {sum(kept.values())} are there"
        )
    return dict(zip(kept, drawn_per_class(list(kept.values()), subset.count), strict=True))


def videos_in(dataset: RegisteredDataset, subset: Subset) -> int:
    """How many videos the subset holds. Raises `InvalidSpec` for none, and for more than are there."""
    there = sum(videos_per_class(dataset, subset).values())
    if isinstance(subset, AuditSubset) and subset.videos is not None:
        # Whether the dataset has them is seen where its listing is.
        if len(subset.videos) > there:
            raise InvalidSpec.at("/subset/videos", f"{len(subset.videos)} are named and {there} are there")
        return len(subset.videos)
    return there
