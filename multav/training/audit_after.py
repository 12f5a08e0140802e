"""The audit of a model that a training made. Torch-free."""

from collections.abc import Collection, Iterable, Sequence

from multav.attacks.catalogue import AnyAttack
from multav.attacks.multav_linf import MultavLinf
from multav.audits.request import MOST_NAMED_VIDEOS, AuditRequest, AuditSubset
from multav.training.request import TrainingRequest

_HELD_OUT = {"camera-motion-train": "camera-motion"}
"""Built-in sets by what they are tested on."""


def audited_on(request: TrainingRequest) -> str | None:
    """Name of the dataset that the finished model is audited on; None where it is not to be audited.

    It is that of the training itself where its validation clips are videos of it that were set aside.
    """
    if not request.audit:
        return None
    return request.validation.dataset or _HELD_OUT.get(request.dataset, request.dataset)


def audit_request(
    request: TrainingRequest,
    *,
    model: str,
    sha256: str,
    dataset: str,
    dataset_sha256: str,
    videos: int,
    looked_at: Sequence[str],
) -> AuditRequest:
    """The audit of the model, against what it was trained on and what it was looked at with, on `dataset`.

    Of its `videos` it takes those that the looks had, where these were at the same dataset; of the training's own
    dataset those that were `looked_at` to choose the checkpoint, by name.
    """
    attacks = [attack for _, attack in request.named_attacks] or [MultavLinf()]
    if dataset == request.dataset:
        subset = AuditSubset(videos=tuple(looked_at[:MOST_NAMED_VIDEOS]))
    else:
        # Drawn as the looks' are (`multav.training.videos`).
        subset = AuditSubset(count=min(request.validation.clips, videos), seed=request.seed)
    audit = AuditRequest(
        models=(model,),
        model_sha256={model: sha256},
        dataset=dataset,
        dataset_sha256=dataset_sha256,
        attacks=tuple(attacks),
        subset=subset,
        recipe=request.recipe,
        precision=request.precision,
    ).spelled_out()
    once: dict[str, AnyAttack] = {}
    for cell in audit.cells:
        # Of two that differ in their steps alone the training's own, which comes first.
        once.setdefault(cell.name, cell.attack)
    return audit.model_copy(update={"attacks": tuple(once.values())})


def why_no_audit(dataset: str, shown: Iterable[str], known: Collection[str]) -> str | None:
    """Why a model of the classes `known` is not audited on `dataset`, which has those that are `shown`, and what to do.

    None where it is.
    """
    beyond = sorted(set(shown) - set(known))
    if not beyond:
        return None
    return (
        f"no audit: dataset {dataset} shows {len(beyond)} classes that the model is not trained for, such as "
        f"{beyond[0]!r}; register one of the same classes and audit the model there (POST /v1/audits)"
    )
