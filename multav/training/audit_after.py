"""The audit of a model that a training made. Torch-free."""

from multav.attacks.catalogue import AnyAttack
from multav.attacks.multav_linf import MultavLinf
from multav.audits.request import AuditRequest, Subset
from multav.training.request import TrainingRequest

_HELD_OUT = {"camera-motion-train": "camera-motion"}
"""Built-in sets by what they are tested on."""


def audited_on(request: TrainingRequest) -> str | None:
    """Name of the dataset that the finished model is audited on; None where there is none that was not trained on.

    A share of the training videos has no name that an audit could call it by.
    """
    if not request.audit:
        return None
    return request.validation.dataset or _HELD_OUT.get(request.dataset)


def audit_request(
    request: TrainingRequest, *, model: str, sha256: str, dataset: str, dataset_sha256: str, videos: int
) -> AuditRequest:
    """The audit of the model, against what it was trained on and what it was looked at with, on `dataset`.

    Of its `videos` it takes those that the looks had, where these were at the same dataset.
    """
    attacks = [attack for _, attack in request.named_attacks] or [MultavLinf()]
    audit = AuditRequest(
        models=(model,),
        model_sha256={model: sha256},
        dataset=dataset,
        dataset_sha256=dataset_sha256,
        attacks=tuple(attacks),
        # Drawn as the looks' are (`multav.training.videos`).
        subset=Subset(count=min(request.validation.clips, videos), seed=request.seed),
        recipe=request.recipe,
        precision=request.precision,
    ).spelled_out()
    once: dict[str, AnyAttack] = {}
    for cell in audit.cells:
        once.setdefault(cell.name, cell.attack)
    return audit.model_copy(update={"attacks": tuple(once.values())})


def why_no_audit(request: TrainingRequest) -> str:
    """Why a model that should be audited is not, and what to do, in words."""
    return (
        f"no audit: the validation clips are videos of {request.dataset} that were set aside, which no audit can name; "
        "name a validation dataset of the same classes, or audit the model yourself (POST /v1/audits)"
    )
