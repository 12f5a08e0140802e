"""Deep codes: where clean values lie, and rounding toward them; checked in fractions and in plain float64."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from multav.attacks.catalogue import parse_attack
from multav.errors import InvalidSpec
from multav.grid import Grid, shown
from multav.quantise import LevelBounds, levels_toward

DEPTHS = (10, 12, 14, 16)
ALL = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize("clean_bits", [8, 10, 16])
def test_an_unmoved_value_is_the_nearest_code(clean_bits: int) -> None:
    for bits in (bits for bits in DEPTHS if bits >= clean_bits):
        grid = Grid(bits, clean_bits)
        for clean in range(0, grid.clean_peak + 1, max(1, grid.clean_peak // 511)):
            place = Fraction(clean * grid.peak, grid.clean_peak)
            assert abs(int(grid.unmoved_codes[clean]) - place) <= Fraction(1, 2)
    assert Grid(16, 8).unmoved_codes.tolist() == [257 * level for level in range(256)]


def test_a_level_is_the_same_float_on_16_bits() -> None:
    codes = torch.from_numpy(Grid(16, 8).unmoved_codes.astype(np.int32))
    assert codes.float().div_(65535).equal(ALL.float().div_(255))


@pytest.mark.parametrize("kind", ["multav-linf", "pgd-linf"])
@pytest.mark.parametrize("bits", DEPTHS)
def test_bounds_are_exact_around_the_clean_value(kind: str, bits: int) -> None:
    bounds = LevelBounds.of(parse_attack({"kind": kind}), Grid(bits, 8))
    peak = (1 << bits) - 1
    epsilon = Fraction("1.04") if kind == "multav-linf" else Fraction(4, 255)
    for clean in range(256):
        value = Fraction(clean, 255)
        low = value / epsilon if kind == "multav-linf" else max(Fraction(0), value - epsilon)
        high = min(Fraction(1), value * epsilon if kind == "multav-linf" else value + epsilon)
        lowest, highest = int(bounds.lowest[clean]), int(bounds.highest[clean])
        # The outermost codes that are inside, and the next ones are not.
        assert Fraction(lowest, peak) >= low > Fraction(lowest - 1, peak)
        assert Fraction(highest, peak) <= high < Fraction(highest + 1, peak)


@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("factor", [1.04, 1 / 1.04, 1.002, 0.999, 1.0])
def test_codes_lie_between_the_clean_value_and_the_adversarial_one(bits: int, factor: float) -> None:
    grid = Grid(bits, 8)
    moved = (ALL.float() / 255 * factor).clamp(0, 1)
    codes = levels_toward(moved, ALL, grid)
    assert codes.dtype == torch.int32
    centre = ALL.numpy().astype(np.float64) * grid.peak / 255
    value = moved.numpy().astype(np.float64) * grid.peak
    for code, clean, unmoved, target in zip(codes.tolist(), centre, grid.unmoved_codes, value, strict=True):
        low, high = min(clean, target), max(clean, target)
        if code == unmoved:
            # As far as one code at most: where there is none in between, or the nearest one is the outermost.
            assert high - low < 1.5
            continue
        assert low - target * 1e-6 <= code <= high + target * 1e-6
        assert abs(code - target) < 1 + target * 1e-6, "nothing is given away"


def test_dark_levels_move_at_16_bits_and_not_at_8() -> None:
    dark = ALL[1:25]
    brighter = dark.float() / 255 * 1.04
    assert levels_toward(brighter, dark).equal(dark)
    codes = levels_toward(brighter, dark, Grid(16, 8)).numpy()
    clean = dark.numpy().astype(int) * 257
    assert (codes > clean).all()
    assert (100 * codes <= 104 * clean).all()


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(0, 256, (2, 3, 2, 5, 7), generator=generator, dtype=torch.uint8)
    moved = (clean.float() / 255 * 1.03).clamp(0, 1)
    whole = levels_toward(moved, clean, Grid(12, 8))
    monkeypatch.setattr("multav.quantise._BLOCK", 11)
    assert levels_toward(moved, clean, Grid(12, 8)).equal(whole)
    # Values that do not lie in memory one after the other.
    turned = levels_toward(moved.transpose(3, 4), clean.transpose(3, 4), Grid(12, 8))
    assert turned.equal(whole.transpose(3, 4))


def test_a_grid_without_room_for_unmoved_values_is_refused() -> None:
    attack = parse_attack({"kind": "multav-linf", "epsilon": 1.002, "step_size": 1.001})
    with pytest.raises(InvalidSpec, match="set bits 16") as caught:
        LevelBounds.of(attack, Grid(10, 8))
    assert caught.value.errors[0]["pointer"] == "/bits"
    bounds = LevelBounds.of(attack, Grid(16, 8))
    unmoved = bounds.grid.unmoved_codes
    assert bounds.allows(np.arange(256), unmoved)
    assert not bounds.allows(np.array([200]), unmoved[[200]] + 257)


def test_pictures_for_a_screen() -> None:
    assert shown(np.array([0, 257, 65535, 128 + 257], np.uint16), 16).tolist() == [0, 1, 255, 1]
    assert shown(np.array([0, 4, 1023], np.uint16), 10).tolist() == [0, 1, 255]


@pytest.mark.parametrize("bits", DEPTHS)
def test_pictures_for_the_figures(bits: int) -> None:
    grid = Grid(bits, 8)
    clean = np.array([[[10, 100, 200]]], np.uint8)
    here, there = grid.drawable(clean, grid.unmoved(clean))
    assert np.array_equal(here, there)
    assert here * 255 == pytest.approx(clean, abs=255 / 2 / grid.peak + 1e-4)
    other = (grid.unmoved(clean) + grid.peak // 255).astype(np.uint16)
    here, there = grid.drawable(clean, other)
    assert (there - here) * 255 == pytest.approx(np.ones((1, 1, 3)), abs=0.01 if bits > 10 else 0.03)
    assert all(
        each is given for each, given in zip(Grid().drawable(clean, clean), (clean, clean), strict=True)
    )
