"""One made audit with everything in it, and its report."""

from dataclasses import dataclass

import pytest

from multav.audits.findings import Check, Verdict
from multav.audits.request import AuditRequest
from multav.reports.manifest import DatasetIdentity, ModelIdentity, collect
from multav.reports.outcome_columns import OutcomeColumns
from multav.reports.summarise import summarise
from multav.reports.summary import Summary
from tests.multav.reports.made_audit import MadeAudit, made_audit

MODELS = ("net <one>", "net_two", "net three")


@dataclass(frozen=True)
class Reported:
    """An audit and what is said of it."""

    audit: MadeAudit
    summary: Summary


@pytest.fixture(scope="session")
def reported() -> Reported:
    """Three models, seven cells, transfer, smallest bounds; 240 videos in 60 groups, two of them unreadable."""
    request = AuditRequest.parse(
        {
            "models": list(MODELS),
            "dataset": "made",
            "attacks": [{"kind": "multav-linf"}, {"kind": "pgd-linf"}, {"kind": "multav-l2"}],
            "epsilons": {"multav-linf": [1.01, 1.02, 1.04], "pgd-linf": [1 / 255, 2 / 255, 4 / 255]},
            "transfer": True,
            "minimum_epsilon": True,
        }
    )
    audit = made_audit(request, classes=8, clips=240, groups=60)
    columns = OutcomeColumns(audit.videos, audit.outcomes)
    summary = summarise(
        request,
        classes=audit.classes,
        videos=audit.videos,
        outcomes=columns,
        checks={
            MODELS[0]: [
                Check(name="more steps", question="Do more steps gain?", passed=True, detail="0.3 points"),
                Check(
                    name="zeros",
                    question="Any <b>zeros</b>?",
                    passed=False,
                    detail="31 %",
                    numbers={"share": 0.31},
                ),
                Check(name="transfer", question="Is it weaker?", passed=None, detail="not asked"),
            ]
        },
        verdicts={
            MODELS[0]: Verdict(verdict="not robust", sentence="Not robust to <i>x</i>.", because=("a & b",))
        },
        manifest=collect(
            request,
            models=[ModelIdentity(name=name, sha256="ab" * 32) for name in MODELS],
            dataset=DatasetIdentity(name="made", sha256="cd" * 32, videos=240),
            device="cpu",
            outcomes_sha256=columns.digest(),
        ),
    )
    return Reported(audit, summary)
