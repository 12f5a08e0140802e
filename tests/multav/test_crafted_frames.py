"""Crafted pictures come back bit by bit, as often as asked."""

from pathlib import Path

import numpy as np
import pytest

from multav.crafted_frames import CraftedFrames, packed_bytes
from multav.grid import Grid


def test_round_trip(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sources = generator.integers(0, 256, (30, 20, 36, 3), dtype=np.uint8)
    window = (slice(2, 19), slice(5, 30))
    crafted = sources.copy()
    crafted[:, 2:19, 5:30] += generator.integers(0, 256, (30, 17, 25, 3), dtype=np.uint8)
    with CraftedFrames(tmp_path / "differences", window) as frames:
        for index, (source, made) in enumerate(zip(sources, crafted, strict=True)):
            frames.write(source, source if index == 7 else made)
        crafted[7] = sources[7]
        for _ in range(2):
            back = list(frames.read(sources))
            assert [np.array_equal(made, want) for (_, made), want in zip(back, crafted, strict=True)] == [
                True
            ] * 30
            assert all(
                np.array_equal(source, given) for (source, _), given in zip(back, sources, strict=True)
            )


@pytest.mark.parametrize("grid", [Grid(10, 8), Grid(16, 8), Grid(16, 16), Grid(12, 10)], ids=str)
def test_deep_round_trip(tmp_path: Path, grid: Grid) -> None:
    generator = np.random.default_rng(0)
    shape = (12, 20, 36, 3)
    sources = generator.integers(0, grid.clean_peak + 1, shape).astype(
        np.uint8 if grid.clean_bits == 8 else np.uint16
    )
    window = (slice(2, 19), slice(5, 30))
    crafted = grid.unmoved(sources).copy()
    crafted[:, 2:19, 5:30] = generator.integers(0, grid.peak + 1, (12, 17, 25, 3))
    crafted[7] = grid.unmoved(sources[7])
    kept = sources.copy()
    with CraftedFrames(tmp_path / "differences", window, grid) as frames:
        for source, made in zip(sources, crafted, strict=True):
            frames.write(source, made)
        for _ in range(2):
            for (_, made), want in zip(frames.read(sources), crafted, strict=True):
                assert made.dtype == np.uint16
                assert np.array_equal(made, want)
    assert np.array_equal(sources, kept)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_what_changes_take_on_disk_is_estimated(tmp_path: Path, bits: int) -> None:
    generator, grid = np.random.default_rng(0), Grid(bits, 8)
    source = generator.integers(20, 236, (128, 128, 3)).astype(np.uint8)
    moved = source * (grid.peak / 255) * generator.choice([1 / 1.04, 1, 1.04], source.shape)
    path = tmp_path / "differences"
    with CraftedFrames(path, (slice(None), slice(None)), grid) as frames:
        frames.write(source, moved.astype(grid.dtype))
        list(frames.read([source]))
        frames._file.flush()
        taken = path.stat().st_size
    assert 0.6 * taken < packed_bytes(source.size, bits) < 1.7 * taken


def test_a_missing_source_picture_is_an_error(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    with CraftedFrames(tmp_path / "differences", (slice(None), slice(None))) as frames:
        frames.write(picture, picture + 1)
        frames.write(picture, picture + 1)
        with pytest.raises(ValueError, match="longer"):
            list(frames.read([picture]))
