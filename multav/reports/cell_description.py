"""The threat model of a cell, spelled out for readers. Torch-free."""

from typing import Final

from multav.audits.cells import Cell
from multav.reports.bound_unit import bound_unit
from multav.reports.summary import CellDescription, ThreatModel

_NAMED: Final = ("epsilon", "step_size", "steps", "restarts", "random_start", "loss", "early_stop")
_LEFT_OUT: Final = frozenset({"kind", "targeted", *_NAMED})


def described(cell: Cell) -> CellDescription:
    """What `cell` was allowed to do."""
    attack = cell.attack
    fields = attack.model_dump(mode="json")
    return CellDescription(
        name=cell.name,
        family=cell.family,
        kind=attack.kind,
        meaning=type(attack).meaning,
        threat_model=ThreatModel(
            rule=attack.rule.name,
            ball=attack.ball.name,
            region=attack.region.name,
            unit=bound_unit(cell),
            **{name: fields.get(name) for name in _NAMED},
            settings={name: value for name, value in fields.items() if name not in _LEFT_OUT},
        ),
    )
