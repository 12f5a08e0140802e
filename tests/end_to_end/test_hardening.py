"""What all of this is for: a hardened model withstands more than a clean one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from multav.statistics.paired import mcnemar

pytestmark = pytest.mark.xdist_group("end_to_end")

GEOMETRY = {"frames": 8, "stride": 1, "short_side": 40, "height": 40, "width": 40}
NORMALISED = {"mean": [0.45, 0.45, 0.45], "std": [0.25, 0.25, 0.25]}
ATTACK = {"kind": "multav-linf", "epsilon": 1.02, "step_size": 1.01, "steps": 3}
SHORT: dict[str, Any] = {
    "start": {"model": "camera-motion-r3d18", "geometry": GEOMETRY | NORMALISED},
    "dataset": "camera-motion-train",
    "subset": {"count": 600},
    "batch_size": 16,
    "steps": 40,
    "optimiser": {"kind": "adamw", "learning_rate": 1e-3},
    "schedule": {"kind": "cosine", "warm_up": 0.1},
    "gradient_norm": 1.0,
    "select": "last",
    "validation": {"clips": 10, "every_epochs": 1000},
    "audit": False,
}


def right(outcomes: Sequence[dict[str, Any]], model: str, cell: str) -> np.ndarray[Any, Any]:
    """Whether the model is right about each clip, in the order of the listing."""
    rows = [each for each in outcomes if (each["model"], each["cell"]) == (model, cell)]
    rows.sort(key=lambda each: each["clip"])
    return np.array([each["predicted"] == each["label"] for each in rows])


def test_a_hardened_model_withstands_more_than_a_clean_one(stack: Any) -> None:
    jobs = {
        name: stack.client.train({**SHORT, "name": f"proof-{name}", "attack": attack})
        for name, attack in (("clean", None), ("hardened", ATTACK))
    }
    for job in jobs.values():
        ended = stack.finished(job["id"])
        assert ended["state"] == "succeeded", ended["problem"]
    audit = stack.client.audit(
        {
            "models": ["proof-clean", "proof-hardened"],
            "dataset": "camera-motion",
            "subset": {"count": 100},
            "attacks": [ATTACK | {"steps": 5}],
            "checks": None,
            "examples": 0,
            "batch_size": 50,
        }
    )
    audited = stack.finished(audit["id"])
    assert audited["state"] == "succeeded", audited["problem"]
    outcomes = list(stack.client.outcomes(audit["id"]))
    (cell,) = {each["cell"] for each in outcomes} - {"clean"}
    clean, hardened = (right(outcomes, f"proof-{name}", cell) for name in ("clean", "hardened"))
    assert len(clean) == len(hardened) == 100
    _, p = mcnemar(int((hardened & ~clean).sum()), int((clean & ~hardened).sum()))
    assert hardened.mean() > clean.mean() + 0.1
    assert p < 0.01
    # And still knows what it sees.
    assert right(outcomes, "proof-hardened", "clean").mean() > 0.7
