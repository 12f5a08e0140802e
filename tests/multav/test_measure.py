"""Figures of a comparison against plain float64 formulas."""

import math

import numpy as np
import pytest

from multav.attacks.catalogue import parse_attack
from multav.measure import Comparison
from multav.quantise import LevelBounds


def pictures(seed: int = 0, lowest: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    clean = generator.integers(lowest, 256, (5, 24, 31, 3), dtype=np.uint8)
    other = np.clip(clean.astype(int) + generator.integers(-3, 4, clean.shape), 1, 255).astype(np.uint8)
    return clean, other


def test_every_figure_against_its_formula() -> None:
    clean, other = pictures()
    comparison = Comparison()
    for pair in zip(clean, other, strict=True):
        comparison.add(*pair)
    delta = other.astype(np.float64) - clean
    ratio = other / clean.astype(np.float64)
    assert comparison.linf == pytest.approx(np.abs(delta).max() / 255)
    assert comparison.l2 == pytest.approx(np.linalg.norm(delta / 255))
    assert comparison.ratio_max == pytest.approx(np.maximum(ratio, 1 / ratio).max())
    assert comparison.psnr_db == pytest.approx(10 * math.log10(255**2 / (delta**2).mean()))
    assert comparison.changed_pixels == (delta != 0).any(-1).sum()
    assert 0.9 < comparison.ssim < 1


def test_pairs_are_counted_one_by_one() -> None:
    clean, other = pictures(lowest=0)
    clean[0, :4], other[0, :4] = 7, 7
    comparison = Comparison()
    # Pictures that are views, as those of a file that is turned.
    comparison.add(clean[0, ::-1], other[0, ::-1])
    expected = np.zeros((256, 256), np.int64)
    np.add.at(expected, (clean[0].ravel(), other[0].ravel()), 1)
    assert np.array_equal(comparison.pairs, expected)


def test_nothing_changed() -> None:
    clean, _ = pictures()
    comparison = Comparison()
    comparison.add(clean[0], clean[0].copy())
    assert (comparison.linf, comparison.l2, comparison.ratio_max) == (0, 0, 1)
    assert comparison.psnr_db is None
    assert comparison.ssim == 1
    assert comparison.changed_pixels == 0


def test_zero_pixels() -> None:
    clean = np.zeros((4, 4, 3), np.uint8)
    brighter = clean.copy()
    brighter[0, 0] = 3
    comparison = Comparison()
    comparison.add(clean, brighter)
    # A clean zero has no ratio; it counts as 1. But it is outside a ratio bound, which leaves zero at zero.
    assert comparison.ratio_max == 1
    assert not comparison.within(LevelBounds.of(parse_attack({"kind": "multav-linf"})))
    comparison = Comparison()
    comparison.add(brighter, clean)
    assert comparison.ratio_max is None


def test_ssim_is_one_for_equal_and_low_for_unrelated_pictures() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    comparison = Comparison()
    comparison.add(first, second)
    assert comparison.ssim < 0.2
