"""Crafted pictures come back bit by bit, as often as asked."""

from pathlib import Path

import numpy as np
import pytest

from multav.crafted_frames import CraftedFrames


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


def test_a_missing_source_picture_is_an_error(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    with CraftedFrames(tmp_path / "differences", (slice(None), slice(None))) as frames:
        frames.write(picture, picture + 1)
        frames.write(picture, picture + 1)
        with pytest.raises(ValueError, match="longer"):
            list(frames.read([picture]))
