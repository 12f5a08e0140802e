"""An audit that never ran: outcomes drawn at random, with everything in them that a report must cope with."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from multav.audits.outcome import CLEAN, Outcome
from multav.audits.request import AuditRequest
from multav.datasets.listing import ListedVideo

NASTY = (
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    'comma, "quote"',
    "50% & $5_a^b {x}~\\#",
    "Ünï|code`",
)


@dataclass(frozen=True)
class MadeAudit:
    """What `summarise` is given."""

    request: AuditRequest
    classes: tuple[str, ...]
    videos: tuple[ListedVideo, ...]
    outcomes: tuple[Outcome, ...]


def made_audit(
    request: AuditRequest, *, classes: int, clips: int, groups: int, seed: int = 0, unread: int = 2
) -> MadeAudit:
    """`clips` videos over `classes`, in `groups`; models differ in strength, attacks grow with epsilon."""
    names = tuple((*NASTY, *(f"class {k}" for k in range(classes)))[:classes])
    rng = np.random.default_rng(seed)
    videos = tuple(
        ListedVideo(
            index=3 * k,
            name=f"{'=bad' if k == 0 else 'fine'}/v_{k:04d}.avi",
            label=k % classes,
            group=f"g{k % groups}",
        )
        for k in range(clips)
    )
    return MadeAudit(request, names, videos, tuple(_outcomes(request, videos, classes, rng, unread)))


def _outcomes(
    request: AuditRequest,
    videos: tuple[ListedVideo, ...],
    classes: int,
    rng: np.random.Generator,
    unread: int,
) -> Iterator[Outcome]:
    hardness = rng.normal(size=len(videos))
    by_group = {video.group: rng.normal() for video in videos}
    for strength, model in enumerate(request.models):
        for k, video in enumerate(videos):
            if k >= len(videos) - unread:
                yield Outcome(
                    model, CLEAN, video.index, video.label, model, problem="the video has no frames"
                )
                continue
            margin = (
                1.2 + 0.5 * strength - 0.5 * hardness[k] + 0.5 * by_group[video.group] + 0.5 * rng.normal()
            )
            clean = video.label if margin > 0 else int((video.label + 1) % classes)
            yield Outcome(
                model, CLEAN, video.index, video.label, model, clean=clean, clean_confidence=0.9,
                predicted=clean, confidence=0.9, seconds=0.01,
            )  # fmt: skip
            for cell in request.cells:
                bound = (
                    cell.attack.rule.coordinate_bound(cell.attack.epsilon)
                    if cell.attack.epsilon < 2
                    else 0.04
                )
                fooled = margin < 40 * min(bound, 0.06) + 0.3 * rng.normal()
                known = clean == video.label
                predicted = (
                    int(rng.integers(classes - 1) + video.label + 1) % classes if known and fooled else clean
                )
                yield Outcome(
                    model, cell.name, video.index, video.label, model, clean=clean, clean_confidence=0.9,
                    predicted=predicted, confidence=0.7, attacked=known, loss_start=0.1, loss_end=2.0,
                    size=cell.attack.epsilon if known else None, l2=1.5 if known else None,
                    changed=0.5 if known else None,
                    epsilon=min(cell.attack.epsilon, max(margin, 0.1) / 40 + (1 if cell.multiplicative else 0))
                    if request.minimum_epsilon and known and fooled
                    else None,
                    gradients=5 if known else 0, seconds=0.2,
                )  # fmt: skip
                if request.transfer:
                    for other in request.models:
                        if other != model:
                            moved = int((video.label + (rng.random() < 0.2)) % classes)
                            yield Outcome(
                                model, cell.name, video.index, video.label, other, clean=None,
                                predicted=moved, confidence=0.6, attacked=known,
                            )  # fmt: skip
