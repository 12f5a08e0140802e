"""Eight bits toward the clean level: never outside the bound, never past the clean level."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multav.attacks.catalogue import parse_attack
from multav.quantise import LevelBounds, levels_toward

ALL = torch.arange(256, dtype=torch.uint8)


def clean_floats() -> torch.Tensor:
    return ALL.float() / 255


@pytest.mark.parametrize("epsilon", [1.005, 1.04, 1.1, 1.7, 3.55])
@pytest.mark.parametrize("up", [True, False])
def test_the_ratio_bound_holds_on_every_level(epsilon: float, up: bool) -> None:
    moved = (clean_floats() * epsilon if up else clean_floats() / epsilon).clamp(0, 1)
    levels = levels_toward(moved, ALL).double()
    clean = ALL.double()
    assert (levels <= clean * epsilon + 1e-9).all()
    assert (levels * epsilon + 1e-9 >= clean).all()
    assert ((levels >= clean) if up else (levels <= clean)).all()
    # Toward the clean level by less than one level: nothing is given away.
    assert ((moved * 255).double() - levels).abs().max() < 1
    if epsilon == 1.04:
        assert levels[:25].equal(clean[:25])
        assert levels[25] == (26 if up else 25)


def test_levels_that_did_not_move_stay() -> None:
    assert levels_toward(clean_floats(), ALL).equal(ALL)


@given(st.lists(st.tuples(st.integers(0, 255), st.floats(0, 1, width=32)), min_size=1, max_size=64))
def test_never_past_the_clean_level_nor_the_value(pairs: list[tuple[int, float]]) -> None:
    clean = torch.tensor([level for level, _ in pairs], dtype=torch.uint8)
    value = torch.tensor([number for _, number in pairs])
    levels = levels_toward(value, clean).double()
    low = torch.minimum(clean.double(), (value * 255).double())
    high = torch.maximum(clean.double(), (value * 255).double())
    assert ((levels >= low - 2e-4) & (levels <= high + 2e-4)).all()


@pytest.mark.parametrize(
    "spec", [{"kind": "multav-linf"}, {"kind": "pgd-linf"}, {"kind": "multav-linf", "epsilon": 1.0123}]
)
def test_level_bounds_are_the_attacks_own(spec: dict[str, object]) -> None:
    attack = parse_attack(spec)
    bounds = LevelBounds.of(attack)
    for clean in range(256):
        allowed = [
            level
            for level in range(256)
            if (
                (
                    clean == level == 0
                    or (
                        clean > 0
                        and level > 0
                        and max(level / clean, clean / level) <= attack.epsilon + 1e-12
                    )
                )
                if attack.kind == "multav-linf"
                else abs(level - clean) / 255 <= attack.epsilon + 1e-12
            )
        ]
        assert (bounds.lowest[clean], bounds.highest[clean]) == (allowed[0], allowed[-1])


def test_clamp_moves_levels_into_the_bounds() -> None:
    bounds = LevelBounds.of(parse_attack({"kind": "multav-linf"}))
    clean = np.array([0, 10, 100, 200], np.uint8)
    assert bounds.clamp(np.array([9, 30, 200, 0], np.uint8), clean).tolist() == [0, 10, 104, 193]
