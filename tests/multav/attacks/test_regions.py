"""Where attacks act: every legal place alike, frame by frame; shapes; sizes that fit; refusals."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multav.attacks.regions import Border, Rectangle, Region, ScatteredPixels, WholeClip, origin
from multav.randomness import Draws
from tests.multav import laws

torch.set_num_threads(1)
NOTHING: Any = None  # no region but a searched one asks the objective


def place(region: Region, clips: Tensor, seed: int = 0) -> Tensor:
    mask = region.place(clips, Draws(clips, seed=seed, first_sample=0), NOTHING)
    assert mask is not None
    return mask


@pytest.mark.parametrize(("high", "wide"), [(3, 3), (2, 5), (1, 1), (5, 6), (5, 2)])
def test_every_place_of_a_rectangle_is_as_likely(high: int, wide: int) -> None:
    # The authors' code never draws the last row and column (paper-facts A3).
    height, width = 5, 6
    across = width - wide + 1
    places = (height - high + 1) * across

    def number(mask: Tensor) -> Tensor:
        corners = laws.rectangles(mask)
        return corners[:, 0] * across + corners[:, 1]

    laws.every_place_is_as_likely(Rectangle(high, wide), height, width, places, number)


@pytest.mark.parametrize("count", [1, 4, 29])
def test_every_pixel_is_as_likely(count: int) -> None:
    laws.every_place_is_as_likely(
        ScatteredPixels(count), 5, 6, 30, lambda mask: mask.flatten(3)[0, 0].nonzero()[:, 1]
    )


@pytest.mark.parametrize("grain", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 6])
def test_scattered_pixels_are_distinct_blocks(count: int, grain: int) -> None:
    clips = torch.zeros(2, 3, 4, 7, 11)
    mask = place(ScatteredPixels(count, grain=grain), clips)
    assert (mask.flatten(3).sum(3) == count * grain**2).all()
    rows, columns = 7 // grain, 11 // grain
    inside = mask[..., : rows * grain, : columns * grain]
    blocks = inside.reshape(2, 1, 4, rows, grain, columns, grain).float().mean((4, 6))
    assert ((blocks == 0) | (blocks == 1)).all()
    assert (blocks.flatten(3).sum(3) == count).all()


@pytest.mark.parametrize(
    ("width", "height", "wide"), [(1, 5, 6), (2, 5, 6), (2, 4, 4), (10, 112, 112), (5, 112, 112)]
)
def test_a_border_is_the_outermost_ring(width: int, height: int, wide: int) -> None:
    mask = place(Border(width), torch.zeros(2, 3, 3, height, wide))
    for row in (0, width - 1, height - width, height - 1):
        assert mask[..., row, :].all()
    for column in (0, width - 1, wide - width, wide - 1):
        assert mask[..., column].all()
    assert not mask[..., width : height - width, width : wide - width].any()
    if height == 112:
        # 4,080 of 12,544 pixels at width 10, 2,140 at width 5 (paper-facts A4).
        assert int(mask[0, 0, 0].sum()) == {10: 4080, 5: 2140}[width]


def test_a_fixed_rectangle_is_where_it_is_told() -> None:
    clips = torch.zeros(2, 3, 3, 9, 12)
    mask = place(Rectangle(3, 4, "fixed", (6, 8)), clips)
    assert mask[..., 6:9, 8:12].all()
    assert int(mask.sum()) == 2 * 3 * 12
    middle = place(Rectangle(3, 4, "fixed"), clips)
    assert middle[..., 3:6, 4:8].all()
    assert int(middle.sum()) == 2 * 3 * 12
    corner = place(Rectangle(3, 4, "fixed", (0, 0)), clips)
    assert corner[..., :3, :4].all()


@pytest.mark.parametrize("region", [Rectangle(2, 2), ScatteredPixels(2)])
def test_frames_clips_and_seeds_draw_on_their_own(region: Region) -> None:
    clips = torch.zeros(4, 3, 8, 30, 30)
    frames = torch.cat([place(region, clips, seed).flatten(0, 2).flatten(1) for seed in range(2)])
    assert len(frames.unique(dim=0)) > 55
    assert place(region, clips, 1).equal(place(region, clips, 1))
    alone = region.place(clips[2:3], Draws(clips[2:3], seed=1, first_sample=2), NOTHING)
    assert alone is not None
    assert alone.equal(place(region, clips, 1)[2:3])


def test_the_centre_is_replaced_within_the_region_only() -> None:
    clips = torch.rand(2, 3, 2, 6, 7)
    for region, level in ((Border(2), None), (Border(2, "grey"), 0.5), (ScatteredPixels(9, "black"), 0.0)):
        before, mask = clips.clone(), place(region, clips)
        there, inside = origin(region, clips, mask), mask.expand_as(clips)
        assert clips.equal(before)
        assert there[~inside].equal(clips[~inside])
        assert (there[inside] == level).all() if level is not None else there.equal(clips)
    assert origin(WholeClip(), clips, None) is clips


@st.composite
def fitting(draw: st.DrawFn) -> tuple[Region, int, int]:
    height, width = draw(st.integers(2, 240)), draw(st.integers(2, 240))
    kind = draw(st.sampled_from(["border", "pixels", "rectangle", "fixed"]))
    if kind == "border":
        return Border(draw(st.integers(1, min(height, width) // 2))), height, width
    if kind == "pixels":
        return ScatteredPixels(draw(st.integers(1, height * width))), height, width
    high, wide = draw(st.integers(1, height)), draw(st.integers(1, width))
    if kind == "rectangle":
        return Rectangle(high, wide, stride=draw(st.integers(1, 10))), height, width
    at = (draw(st.integers(0, height - high)), draw(st.integers(0, width - wide)))
    return Rectangle(high, wide, "fixed", at), height, width


@settings(deadline=None, max_examples=300)
@given(scene=fitting(), short=st.integers(2, 4320))
def test_what_fits_fits_when_enlarged(scene: tuple[Region, int, int], short: int) -> None:
    region, height, width = scene
    if short >= min(height, width):
        laws.fits_when_enlarged(region, height, width, short / min(height, width))


def test_an_enlarged_region_covers_the_same_share() -> None:
    assert Border(10, "grey").enlarged(2.5) == Border(25, "grey")
    assert ScatteredPixels(100, "black").enlarged(3.9) == ScatteredPixels(100, "black", grain=3)
    assert Rectangle(30, 20, stride=10, candidates=3).enlarged(2) == Rectangle(
        60, 40, stride=20, candidates=3
    )
    assert Rectangle(30, 20, "fixed", (5, 7)).enlarged(1.5) == Rectangle(45, 30, "fixed", (7, 10), stride=1)
    assert Border(1).enlarged(0.2) == Border(1)
    assert WholeClip().enlarged(3) == WholeClip()
    for region, share in (
        (Border(3), 1 - 14 * 9 / 300),
        (Rectangle(5, 4), 20 / 300),
        (ScatteredPixels(9), 9 / 300),
    ):
        mask = place(region.enlarged(4), torch.zeros(1, 3, 2, 60, 80))
        assert float(mask.float().mean()) == pytest.approx(share)


@pytest.mark.parametrize(
    ("region", "field", "words"),
    [
        (Border(5), "width", "a border of width 5 does not fit into frames of 9x12: at most 4"),
        (ScatteredPixels(109), "pixels", "a frame of 9x12 does not have 109 pixels: at most 108"),
        (ScatteredPixels(25, grain=2), "pixels", "at most 24"),
        (Rectangle(10, 3), "size", "a rectangle of 10x3 does not fit into frames of 9x12"),
        (Rectangle(3, 13), "size", "a rectangle of 3x13 does not fit into frames of 9x12"),
        (
            Rectangle(3, 3, "fixed", (7, 0)),
            "position",
            "at 7,0 leaves frames of 9x12: top at most 6, left at most 9",
        ),
        (Rectangle(3, 3, "fixed", (0, 10)), "position", "top at most 6, left at most 9"),
    ],
    ids=str,
)
def test_misfits_name_the_field_and_what_is_allowed(region: Region, field: str, words: str) -> None:
    misfit = region.misfit(9, 12)
    assert misfit is not None
    assert misfit[0] == field
    assert words in misfit[1]
    with pytest.raises(ValueError, match=words):
        place(region, torch.zeros(1, 3, 2, 9, 12))


@pytest.mark.parametrize(
    "region",
    [
        Border(4),
        ScatteredPixels(108),
        ScatteredPixels(24, grain=2),
        Rectangle(9, 12),
        Rectangle(3, 3, "fixed", (6, 9)),
    ],
    ids=str,
)
def test_what_just_fits_is_taken(region: Region) -> None:
    assert region.misfit(9, 12) is None
    assert place(region, torch.zeros(1, 3, 2, 9, 12)).any()
