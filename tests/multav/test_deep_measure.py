"""Figures of a deep comparison against plain float64 formulas and fractions."""

from fractions import Fraction

import numpy as np
import pytest

from multav.attacks.catalogue import parse_attack
from multav.deep_measure import DeepComparison, comparison
from multav.grid import Grid
from multav.measure import Comparison
from multav.quantise import LevelBounds

GRIDS = [Grid(16, 8), Grid(12, 8), Grid(10, 8), Grid(16, 16), Grid(16, 10)]


def pictures(grid: Grid, *, spread: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    shape = (5, 24, 31, 3)
    clean = generator.integers(1, grid.clean_peak + 1, shape).astype(
        np.uint8 if grid.clean_bits == 8 else np.uint16
    )
    far = spread * grid.peak // 255
    other = grid.unmoved(clean).astype(np.int64) + generator.integers(-far, far + 1, shape)
    other[0, :5] = grid.unmoved(clean)[0, :5]
    return clean, np.clip(other, 1, grid.peak).astype(np.uint16)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_every_figure_against_its_formula(grid: Grid) -> None:
    clean, other = pictures(grid)
    compared = DeepComparison(grid)
    for pair in zip(clean, other, strict=True):
        compared.add(*pair)
    here, there = clean / grid.clean_peak, other / grid.peak
    assert compared.linf == pytest.approx(np.abs(there - here).max(), rel=1e-12)
    assert compared.l2 == pytest.approx(np.linalg.norm(there - here))
    assert compared.ratio_max == pytest.approx(np.maximum(there / here, here / there).max(), rel=1e-12)
    assert compared.psnr_db == pytest.approx(-10 * np.log10(((there - here) ** 2).mean()))
    assert compared.changed_pixels == (other != grid.unmoved(clean)).any(-1).sum()
    assert 0.9 < compared.ssim < 1


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_one_value_outside_of_the_bound_is_seen(grid: Grid) -> None:
    bounds = LevelBounds.of(parse_attack({"kind": "multav-linf"}), grid)
    clean, _ = pictures(grid)
    low, high = bounds.lowest[clean], bounds.highest[clean]
    for edge, beyond in ((low, -1), (high, 1)):
        compared = DeepComparison(grid)
        for pair in zip(clean, edge, strict=True):
            compared.add(*pair)
        assert compared.within(bounds)
        assert compared.ratio_max is not None
        assert compared.ratio_max <= 1.04
        inner = tuple(np.argwhere((edge[0] > 1) & (edge[0] < grid.peak))[0])
        edge[0][inner] = int(edge[0][inner]) + beyond
        compared.add(clean[0], edge[0])
        assert not compared.within(bounds)
        ratio = Fraction(int(edge[0][inner]) * grid.clean_peak, int(clean[0][inner]) * grid.peak)
        assert max(ratio, 1 / ratio) > Fraction("1.04")
        assert compared.ratio_max > 1.04


def test_nothing_changed() -> None:
    for grid in (Grid(16, 8), Grid(16, 16)):
        clean, _ = pictures(grid)
        compared = DeepComparison(grid)
        compared.add(clean[0], grid.unmoved(clean[0]))
        assert (compared.linf, compared.l2, compared.ratio_max, compared.psnr_db) == (0, 0, 1, None)
        assert (compared.ssim, compared.changed_pixels) == (1, 0)


def test_what_the_nearest_code_is_off_is_told() -> None:
    clean = np.ones((2, 2, 3), np.uint8)
    compared = DeepComparison(Grid(10, 8))
    compared.add(clean, Grid(10, 8).unmoved(clean))
    assert compared.changed_pixels == 0
    assert compared.ratio_max == pytest.approx(1023 / 255 / 4)
    assert compared.linf == pytest.approx(1 / 255 - 4 / 1023)


def test_zero_pixels() -> None:
    clean = np.zeros((4, 4, 3), np.uint8)
    brighter = clean.astype(np.uint16)
    brighter[0, 0] = 3
    compared = DeepComparison(Grid(16, 8))
    compared.add(clean, brighter)
    assert compared.ratio_max == 1
    assert not compared.within(LevelBounds.of(parse_attack({"kind": "multav-linf"}), Grid(16, 8)))
    compared = DeepComparison(Grid(16, 8))
    compared.add(clean + np.uint8(3), clean.astype(np.uint16))
    assert compared.ratio_max is None


def test_pixels_outside_of_a_replaced_region_may_stay() -> None:
    """The table speaks of the grey that replaces the region, and not of what is around it."""
    bounds = LevelBounds.of(parse_attack({"kind": "multav-roa", "size": 2, "init": "grey"}), Grid(10, 8))
    clean = np.full((4, 4, 3), 7, np.uint8)
    other = Grid(10, 8).unmoved(clean).copy()
    other[:2, :2] = 512
    compared = DeepComparison(Grid(10, 8))
    compared.add(clean, other)
    assert compared.within(bounds)
    other[3, 3] += 1
    compared.add(clean, other)
    assert not compared.within(bounds)


def test_eight_bits_keep_the_exact_table() -> None:
    assert isinstance(comparison(Grid()), Comparison)
    assert isinstance(comparison(Grid(16, 8)), DeepComparison)
