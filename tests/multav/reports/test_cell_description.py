"""What a report says of an attack is all of it: the attack can be made from it again, and so be run again."""

from typing import Any

import pytest

from multav import parse_attack
from multav.attacks.catalogue import ATTACKS
from multav.audits.request import AuditRequest
from multav.reports.cell_description import described
from multav.reports.summary import CellDescription

SETTINGS: list[dict[str, Any]] = [
    *({"kind": kind} for kind in ATTACKS),
    {"kind": "multav-roa", "size": [11, 7]},
    {"kind": "roa", "size": [11, 7], "placement": "fixed", "position": [3, 4], "init": "grey"},
    {"kind": "roa", "size": 9, "placement": "gradient", "stride": 3, "candidates": 2},
    {"kind": "multav-af", "width": 3},
    {"kind": "spa", "pixels": 13, "restarts": 2},
    {"kind": "multav-l2", "bound": "literal"},
    {"kind": "pgd-linf", "momentum": 0.9, "schedule": "cosine", "random_start": True, "loss": "dlr-targeted"},
]


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
def test_an_attack_is_told_whole(fields: dict[str, Any]) -> None:
    (cell,) = AuditRequest.parse({"attacks": [fields], "early_stop": False}).cells
    told = CellDescription.model_validate_json(described(cell).model_dump_json())
    threat = told.threat_model.model_dump(
        exclude={"rule", "ball", "region", "unit", "settings"}, exclude_none=True
    )
    assert parse_attack({"kind": told.kind} | threat | told.threat_model.settings) == parse_attack(fields)
