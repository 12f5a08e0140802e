"""The attacks of an audit: each setting at each epsilon, with a name of its own. Torch-free."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from multav.attacks.catalogue import AnyAttack, parse_attack


@dataclass(frozen=True)
class Cell:
    """One column of an audit. Cells of one `family` differ in epsilon alone, and in the step size that goes with it."""

    name: str
    family: str
    attack: AnyAttack

    @property
    def multiplicative(self) -> bool:
        """Whether the perturbation is a ratio."""
        return self.attack.rule.name == "multiplicative"


def cells(attacks: Sequence[AnyAttack]) -> tuple[Cell, ...]:
    """Every attack as a cell, in order: multav-linf@1.04, and multav-linf#2@1.04 for another setting of the kind."""
    families: dict[str, list[object]] = {}
    found = []
    for attack in attacks:
        setting = _setting(attack)
        known = families.setdefault(attack.kind, [])
        if setting not in known:
            known.append(setting)
        number = known.index(setting)
        family = attack.kind if number == 0 else f"{attack.kind}#{number + 1}"
        found.append(Cell(f"{family}@{attack.epsilon:.6g}", family, attack))
    return tuple(found)


def on_grid(attacks: Iterable[AnyAttack], epsilons: Mapping[str, Sequence[float]]) -> tuple[AnyAttack, ...]:
    """Every attack at each of its kind's epsilons, or at its own where the kind has none.

    A step size that was left to its default keeps its share of the bound; one that was given stays. Raises
    `InvalidSpec` for an epsilon that the kind does not allow.
    """
    made: list[AnyAttack] = []
    for attack in attacks:
        grid = epsilons.get(attack.kind)
        made += [attack] if grid is None else [at_epsilon(attack, epsilon) for epsilon in grid]
    return tuple(made)


def at_epsilon(attack: AnyAttack, epsilon: float) -> AnyAttack:
    """The attack with another bound; see `on_grid` for its step size. Raises `InvalidSpec`."""
    if "step_size" not in attack.model_fields_set:
        return scaled(attack, epsilon)
    return parse_attack(attack.model_dump(exclude_unset=True) | {"kind": attack.kind, "epsilon": epsilon})


def scaled(attack: AnyAttack, epsilon: float) -> AnyAttack:
    """The attack with another bound, of which its step size, if it has one, keeps its share. Raises `InvalidSpec`."""
    fields = attack.model_dump(exclude_unset=True) | {"kind": attack.kind, "epsilon": epsilon}
    step_size = getattr(attack, "step_size", None)
    if step_size is not None:
        # Checked before its logarithm is taken.
        parse_attack(fields)
        fields["step_size"] = attack.rule.part(step_size, _share(attack, epsilon))
    return parse_attack(fields)


def repeated(found: Sequence[Cell]) -> list[str]:
    """Names that more than one cell has: the same attack, asked for twice."""
    return [name for name, count in Counter(cell.name for cell in found).items() if count > 1]


def _share(attack: AnyAttack, epsilon: float) -> float:
    """How many times as large the new bound is, in the coordinate in which the rule adds."""
    if attack.ball.elementwise and attack.ball.name == "linf":
        return attack.rule.coordinate_bound(epsilon) / attack.rule.coordinate_bound(attack.epsilon)
    return epsilon / attack.epsilon


def _setting(attack: AnyAttack) -> object:
    """Everything but the bound and the step that follows from it."""
    return attack.model_dump(exclude={"epsilon", "step_size"})
