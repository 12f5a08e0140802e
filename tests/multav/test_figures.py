"""Figures against values worked out by hand or by plain loops, and what the maps are there to show."""

import json
import subprocess
import sys
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import multav
from multav import figures
from multav.artifact_roles import ATTACK_ROLES
from multav.attacks.catalogue import ATTACKS
from multav.figures.contact_sheet import Column, compose
from multav.figures.levels import levels_of
from multav.figures.loss_plot import WIDTH
from multav.figures.ratio_map import ratio_shares
from multav.loss_history import LossHistory
from multav.map_videos import full_ratio, map_videos
from multav.pictures import Sheet

GENERATOR = np.random.default_rng(11)
WHITE, DARK_RED, DARK_BLUE = (247, 247, 247), (103, 0, 31), (5, 48, 97)


def picture(*rows: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


# -- the maps, by hand


def test_the_difference_map_is_fifteen_times_the_size_of_the_change() -> None:
    clean = picture([(0, 100, 255), (10, 20, 30)])
    other = picture([(1, 97, 255), (27, 2, 13)])
    assert figures.difference_map(clean, other).tolist() == [[[15, 45, 0], [255, 255, 255]]]


def test_the_signed_map_has_grey_where_nothing_changed() -> None:
    clean = picture([(0, 100, 255), (10, 20, 30)])
    other = picture([(1, 97, 255), (19, 11, 22)])
    # 128 + 15 * (1, -3, 0); 128 + 135 and 128 - 135 are out of range; 128 - 120.
    assert figures.signed_difference_map(clean, other).tolist() == [[[143, 83, 128], [255, 0, 8]]]


def test_another_gain() -> None:
    clean, other = picture([(10, 10, 10)]), picture([(12, 9, 210)])
    assert figures.difference_map(clean, other, gain=0.5).tolist() == [[[1, 0, 100]]]
    assert figures.difference_map(clean, other, gain=1000).tolist() == [[[255, 255, 255]]]
    with pytest.raises(ValueError, match="above 0"):
        figures.difference_map(clean, other, gain=0)


def test_the_change_of_floats_is_not_rounded_before_it_is_enlarged() -> None:
    clean = np.full((1, 1, 3), 0.5)
    other = clean + np.array([0.2, -0.4, 0.0]) / 255
    assert figures.difference_map(clean, other).tolist() == [[[3, 6, 0]]]
    assert figures.signed_difference_map(clean, other).tolist() == [[[131, 122, 128]]]


def test_the_ratio_map_has_full_colour_at_the_bound_and_none_at_one() -> None:
    clean = picture([(100, 100, 100), (100, 100, 100), (7, 8, 9), (200, 200, 200)])
    other = picture([(125, 125, 125), (80, 80, 80), (7, 8, 9), (255, 255, 255)])
    coloured = figures.ratio_map(clean, other, 1.25)
    assert coloured[0].tolist() == [list(DARK_RED), list(DARK_BLUE), list(WHITE), list(DARK_RED)]


def test_the_share_of_the_bound_is_that_of_the_logarithms() -> None:
    clean = GENERATOR.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    other = np.clip(clean.astype(int) + GENERATOR.integers(-9, 10, clean.shape), 0, 255).astype(np.uint8)
    clean[0, 0], other[0, 0], other[0, 1] = 0, 0, 0
    expected = np.zeros((6, 7))
    for row in range(6):
        for column in range(7):
            for x, y in zip(clean[row, column].tolist(), other[row, column].tolist(), strict=True):
                if x == 0:
                    continue
                share = -1.0 if y == 0 else max(-1.0, min(1.0, log(y / x) / log(1.04)))
                expected[row, column] += share / 3
    for before, after in ((clean, other), (clean / 255, other / 255)):
        assert ratio_shares(before, after, 1.04) == pytest.approx(expected, abs=1e-4)


def test_black_has_no_ratio_and_is_shown_as_unchanged() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    lit = np.full((2, 2, 3), 40, np.uint8)
    assert (figures.ratio_map(black, lit, 1.04) == WHITE).all()
    assert (figures.ratio_map(lit, black, 1.04) == DARK_BLUE).all()


def test_reversing_a_change_mirrors_its_share() -> None:
    clean = GENERATOR.integers(1, 256, (5, 5, 3), dtype=np.uint8)
    other = GENERATOR.integers(1, 256, (5, 5, 3), dtype=np.uint8)
    assert ratio_shares(clean, other, 2.0) == pytest.approx(-ratio_shares(other, clean, 2.0), abs=1e-6)


@pytest.mark.parametrize("epsilon", [1.0, 0.5, float("nan"), float("inf")])
def test_a_bound_that_is_no_ratio_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="above 1"):
        figures.ratio_map(picture([(1, 2, 3)]), picture([(1, 2, 3)]), epsilon)


def test_changed_pixels_are_amber_over_a_dim_grey_picture() -> None:
    clean = picture([(200, 100, 50), (200, 100, 50)])
    other = picture([(200, 100, 50), (200, 100, 51)])
    left, right = figures.changed_region(clean, other)[0].tolist()
    # 0.4 * (0.299 * 200 + 0.587 * 100 + 0.114 * 50) = 49.68
    assert left == [50, 50, 50]
    # 0.45 of the picture, 0.55 of (255, 176, 0): 230.25, 141.8, 22.95.
    assert right == [230, 142, 23]


def test_the_outline_of_a_mask_is_drawn_around_its_inside() -> None:
    clean = np.full((5, 6, 3), 100, np.uint8)
    mask = np.zeros((5, 6), bool)
    mask[1:4, 1:5] = True
    amber = (figures.changed_region(clean, clean, mask) == (255, 176, 0)).all(-1)
    expected = mask.copy()
    expected[2, 2:4] = False
    assert np.array_equal(amber, expected)


# -- what is taken and what is given back


@pytest.mark.parametrize(
    "draw",
    [
        figures.difference_map,
        figures.signed_difference_map,
        lambda clean, other: figures.ratio_map(clean, other, 1.1),
        figures.changed_region,
    ],
    ids=["difference", "signed", "ratio", "region"],
)
def test_every_form_of_the_same_pictures_gives_the_same_map(draw) -> None:  # type: ignore[no-untyped-def]
    clean = torch.from_numpy(GENERATOR.integers(0, 256, (2, 3, 4, 6, 8), dtype=np.uint8))
    other = torch.from_numpy(GENERATOR.integers(0, 256, (2, 3, 4, 6, 8), dtype=np.uint8))
    made = draw(clean, other)
    assert (made.shape, made.dtype) == ((2, 4, 6, 8, 3), np.uint8)
    assert np.array_equal(draw(clean.float() / 255, other.double() / 255), made)
    assert np.array_equal(draw(clean.numpy(), other), made)
    assert np.array_equal(draw(clean[1], other[1]), made[1])
    videos = [clips[1].permute(1, 2, 3, 0) for clips in (clean, other)]
    assert np.array_equal(draw(*videos), made[1])
    # Three pictures are a video still.
    assert np.array_equal(draw(*(video[:3] for video in videos)), made[1, :3])
    assert np.array_equal(draw(*(video[2] for video in videos)), made[1, 2])


def test_tensors_with_a_history_or_of_half_the_precision_are_taken() -> None:
    clips = torch.rand(1, 3, 2, 4, 4, requires_grad=True)
    assert (figures.difference_map(clips, clips * 1) == 0).all()
    assert levels_of(clips.detach().bfloat16()).dtype == np.float32


def test_the_mask_of_craft_fits_its_clips() -> None:
    clips = np.zeros((2, 3, 4, 6, 8), np.float32)
    mask = torch.zeros(2, 1, 4, 6, 8, dtype=torch.bool)
    mask[1, :, 3, 2, 2] = True
    overlay = figures.changed_region(clips, clips, mask)
    assert np.argwhere(overlay[..., 0] == 255).tolist() == [[1, 3, 2, 2]]
    assert np.array_equal(figures.changed_region(clips[1], clips[1], mask[1]), overlay[1])
    assert np.array_equal(
        figures.changed_region(overlay[1, 3], overlay[1, 3], mask[1, 0, 3])[2, 2], [255, 176, 0]
    )


@pytest.mark.parametrize(
    ("clean", "other", "error", "words"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), ValueError, r"\(4, 4\); expected"),
        (np.zeros((4, 4, 4, 4)), np.zeros((4, 4, 4, 4)), ValueError, "expected"),
        (np.zeros((4, 4, 3)), np.zeros((4, 5, 3)), ValueError, "same shape"),
        (np.full((4, 4, 3), 200.0), np.zeros((4, 4, 3)), ValueError, "uint8 levels"),
        (np.full((4, 4, 3), np.nan), np.zeros((4, 4, 3)), ValueError, "within"),
        (np.zeros((4, 4, 3), int), np.zeros((4, 4, 3), int), TypeError, "int64"),
    ],
)
def test_what_is_no_picture_is_refused(
    clean: np.ndarray, other: np.ndarray, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        figures.difference_map(clean, other)


def test_what_is_no_mask_is_refused() -> None:
    clean = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expected \(4, 5\)"):
        figures.changed_region(clean, clean, np.zeros((5, 4), bool))
    with pytest.raises(TypeError, match="expected bool"):
        figures.changed_region(clean, clean, np.zeros((4, 5)))


def test_clean_pictures_are_left_as_they_are() -> None:
    clean, other = torch.rand(1, 3, 2, 6, 6), torch.rand(1, 3, 2, 6, 6)
    before = clean.clone(), other.clone()
    figures.contact_sheet(clean, other, epsilon=1.1, region=True)
    assert torch.equal(clean, before[0])
    assert torch.equal(other, before[1])


# -- the point of the paper's first figure


class Slopes(nn.Module):
    """A linear model of clips, whose gradient is no zero anywhere."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(2, 3 * 4 * 16 * 16, generator=generator))

    def forward(self, clips: Tensor) -> Tensor:
        return clips.flatten(1) @ self.weight.T


def change_by_brightness(kind: str, fields: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Brightness of eight stripes 0.1 to 0.8, and the mean size of the signed map's change in each, in levels."""
    stripes = torch.linspace(0.1, 0.8, 8)
    clips = stripes.repeat_interleave(2).expand(1, 3, 4, 16, 16).contiguous()
    attack = multav.parse_attack({"kind": kind, "steps": 5, **fields})
    crafted = multav.craft(Slopes(), clips, torch.tensor([0]), attack)
    signed = figures.signed_difference_map(clips, crafted.clips, gain=4).astype(float)
    sizes = np.abs(signed - 128).mean(axis=(0, 1, 2, 4)).reshape(8, 2).mean(1) / 4
    return stripes.numpy(), sizes


def test_the_signed_map_follows_the_brightness_under_multav_and_not_under_pgd() -> None:
    brightness, sizes = change_by_brightness("multav-linf", {"epsilon": 1.1, "step_size": 1.04})
    per_light = sizes / (brightness * 255)
    # Up by 0.1 of the value, down by 1 - 1 / 1.1: all within a few per cent of one number.
    assert per_light == pytest.approx(np.full(8, (0.1 + 1 - 1 / 1.1) / 2), rel=0.08)
    brightness, sizes = change_by_brightness("pgd-linf", {"epsilon": 8 / 255, "step_size": 4 / 255})
    assert sizes == pytest.approx(np.full(8, 8), abs=0.2)


def test_the_ratio_map_is_as_strong_in_the_shade_as_in_the_light() -> None:
    clips = torch.linspace(0.1, 0.8, 16).expand(1, 3, 4, 16, 16).contiguous()
    attack = multav.parse_attack({"kind": "multav-linf", "epsilon": 1.1, "step_size": 1.04})
    crafted = multav.craft(Slopes(), clips, torch.tensor([0]), attack)
    # Each channel is at the bound, so that their mean is one of -1, -1/3, 1/3 and 1.
    shares = np.abs(ratio_shares(clips, crafted.clips, 1.1))
    assert (np.minimum(np.abs(shares - 1), np.abs(shares - 1 / 3)) < 1e-3).all()


# -- the contact sheet


def test_the_sheet_holds_the_chosen_pictures_and_their_maps_side_by_side() -> None:
    clean = GENERATOR.integers(30, 200, (10, 120, 360, 3), dtype=np.uint8)
    other = clean + GENERATOR.integers(0, 2, clean.shape, dtype=np.uint8)
    sheet = figures.contact_sheet(clean, other, epsilon=1.04, region=True)
    columns = [
        clean,
        other,
        figures.difference_map(clean, other),
        figures.signed_difference_map(clean, other),
        figures.ratio_map(clean, other, 1.04),
        figures.changed_region(clean, other),
    ]
    assert sheet.shape == (32 + 3 * 126 + 46, 6 * 366 + 6, 3)
    # The middles of three equal parts of ten frames.
    for row, frame in enumerate((1, 5, 8)):
        for column, pictures in enumerate(columns):
            top, left = 32 + row * 126, 6 + column * 366
            assert np.array_equal(sheet[top : top + 120, left : left + 360], pictures[frame])


def test_the_sheet_of_an_additive_attack_has_no_ratio_and_no_region() -> None:
    clips = np.zeros((2, 3, 2, 120, 360), np.float32)
    assert figures.contact_sheet(clips, clips, rows=9).shape == (32 + 4 * 126 + 46, 4 * 366 + 6, 3)


def test_what_was_written_is_shown_and_what_was_crafted_is_mapped() -> None:
    clean, crafted, written = (np.full((120, 360, 3), level, np.uint8) for level in (100, 104, 107))
    sheet = figures.contact_sheet(clean, crafted, shown=written)
    assert sheet[60, 400].tolist() == [107, 107, 107]
    assert sheet[60, 800].tolist() == [60, 60, 60]


def test_the_scales_run_from_one_end_of_their_map_to_the_other() -> None:
    clean = np.full((120, 360, 3), 100, np.uint8)
    sheet = figures.contact_sheet(clean, clean, epsilon=1.3, mask=np.ones((120, 360), bool))
    bar = sheet[32 + 126 + 6]
    ends = [bar[6 + column * 366 + offset].tolist() for column in range(2, 6) for offset in (1, 358)]
    expected = 2 * [(0, 0, 0), (255, 255, 255)] + [DARK_BLUE, DARK_RED, (255, 176, 0), (255, 176, 0)]
    # One pixel within the frame of the bar: three levels at most away from its end.
    assert np.abs(np.subtract(ends, expected)).max() <= 3


@pytest.mark.parametrize("size", [(2, 20000), (20000, 2), (1, 1), (7, 5)])
def test_a_sheet_of_pictures_of_any_size(size: tuple[int, int]) -> None:
    pictures = np.zeros((1, *size, 3), np.uint8)
    sheet = figures.contact_sheet(pictures, pictures, epsilon=1.04, captions=("a\nb", "c" * 200))
    assert max(sheet.shape) < 2500


def test_no_pictures_make_no_sheet() -> None:
    with pytest.raises(ValueError, match="no sheet"):
        figures.contact_sheet(np.zeros((0, 4, 4, 3)), np.zeros((0, 4, 4, 3)))


def test_a_caption_is_cut_short_before_it_runs_into_the_next() -> None:
    panel = np.zeros((4, 4, 3), np.uint8)
    one, two = (compose([Column("m" * length, [panel]), Column("", [panel])]) for length in (60, 600))
    assert np.array_equal(one, two)
    assert (two[:32, 372:] == (18, 18, 20)).all()


def test_the_rows_that_a_delivery_keeps_are_small_and_in_order() -> None:
    sheet = Sheet()
    for level in (1, 2):
        sheet.add(*(np.full((2160, 3840, 3), level * scale, np.uint8) for scale in (1, 2, 3)))
    kept = [
        [int(rows[index][0, 0, 0]) for rows in (sheet.clean, sheet.delivered, sheet.crafted)]
        for index in (0, 1)
    ]
    assert kept == [[1, 2, 3], [2, 4, 6]]
    assert sheet.clean[0].shape == (540, 960, 3)


# -- loss and confidence

LOSSES = np.array([[0.0, 1.0], [1.0, 3.0], [3.0, 5.0]])
BLUE, VERMILION = (0, 114, 178), (213, 94, 0)


def marker(plot: np.ndarray, colour: tuple[int, int, int], x: float) -> float:
    """Middle of the run of `colour` at `x` pixels from the left that is as high as a marker."""
    rows = np.flatnonzero((np.abs(plot[:, round(x)].astype(int) - colour) <= 3).all(-1))
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    (run,) = [each for each in runs if 6 <= len(each) <= 10]
    return float(run.mean())


def test_values_lie_where_the_axes_say() -> None:
    plot = figures.loss_plot(LOSSES)
    middle = (84 + WIDTH - 32) / 2
    # The panels' top and bottom in pixels; the loss axis reaches from 0 to 5, confidence from 0 to 100 %.
    for colour, top, values, high in (
        (BLUE, 96, (0.5, 2.0), 5.0),
        (VERMILION, 374, ((1 + exp(-1)) / 2, (exp(-1) + exp(-3)) / 2), 1.0),
    ):
        bottom = top + 206
        for x, value in zip((84, middle), values, strict=True):
            expected = bottom - 206 * value / high
            assert marker(plot, colour, x) == pytest.approx(expected, abs=1.5)


def test_the_band_reaches_from_the_lowest_to_the_highest_clip() -> None:
    plot = figures.loss_plot(LOSSES)
    column = plot[96:302, round((84 + WIDTH - 32) / 2) - 12].astype(int)
    inside = np.flatnonzero((column[:, 0] < 250) & (column[:, 2] > column[:, 0] + 8)) + 96
    # A little left of step 1: about 1 and 3 on an axis from 0 to 5 that is 206 pixels high.
    share = 1 - 12 / 422
    assert inside.min() == pytest.approx(302 - 206 * (1 + 2 * share) / 5, abs=2.5)
    assert inside.max() == pytest.approx(302 - 206 * share / 5, abs=2.5)


def test_another_loss_says_nothing_of_confidence() -> None:
    both, alone = figures.loss_plot(LOSSES), figures.loss_plot(LOSSES - 2, loss="dlr")
    assert both.shape[0] - alone.shape[0] == 278
    assert not (np.abs(alone.astype(int) - VERMILION) <= 3).all(-1).any()


@pytest.mark.parametrize("losses", [[0.7], [0.0, 0.0], [2.0] * 301, [1e-9, 1e-8], [1e4, 2e5]], ids=len)
def test_any_run_can_be_plotted(losses: list[float]) -> None:
    plot = figures.loss_plot(torch.tensor(losses), title="long " * 99, label="“two\nlines”" * 40)
    assert (plot.shape, plot.dtype) == ((654, WIDTH, 3), np.uint8)
    assert (plot[:, -8:] == 255).all(), "no words run out of the card"


@pytest.mark.parametrize(
    "losses", [np.zeros((0, 2)), np.zeros((2, 0)), np.zeros((1, 1, 1)), np.array([np.nan])]
)
def test_what_is_no_loss_is_refused(losses: np.ndarray) -> None:
    with pytest.raises(ValueError, match="losses"):
        figures.loss_plot(losses)


def test_a_history_does_not_depend_on_how_it_was_fed() -> None:
    losses = torch.rand(4, 7, generator=torch.Generator().manual_seed(2)) * 3
    whole, parts = LossHistory.of(losses), LossHistory(3)
    for part in (losses[:, :2], losses[:, 2:2], losses[:, 2:]):
        parts.add(part)
    exact = losses.double().numpy()
    for history in (whole, parts):
        assert history.clips == 7
        assert history.loss == pytest.approx(exact.mean(1))
        assert history.confidence == pytest.approx(np.exp(-exact).mean(1))
        assert np.array_equal(history.loss_range, (exact.min(1), exact.max(1)))
        assert np.allclose(history.confidence_range, (np.exp(-exact.max(1)), np.exp(-exact.min(1))))


# -- files, names and roles


def test_a_saved_figure_reads_back_as_it_was(tmp_path: Path) -> None:
    made = GENERATOR.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    figures.save_png(made, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(image), made)
    with pytest.raises(ValueError, match=r"maps\[0\]"):
        figures.save_png(made[None], tmp_path / "maps.png")


def test_every_kind_has_the_maps_that_say_something_about_it() -> None:
    for kind in ATTACKS:
        attack = multav.parse_attack({"kind": kind})
        roles = [video.role for video in map_videos(attack, 10_000)]
        expected = ["difference-map", "signed-difference-map"]
        expected += ["ratio-map"] if kind.startswith("multav") or kind == "apgd-ratio" else []
        expected += ["changed-region"] if kind.removeprefix("multav-") in ("roa", "af", "spa") else []
        assert roles == expected
        assert set(roles) <= set(ATTACK_ROLES)


def test_the_ratio_that_is_shown_in_full_colour() -> None:
    assert full_ratio(multav.parse_attack({"kind": "multav-linf", "epsilon": 1.07}), 100) == 1.07
    # A length of 5 over 100 values is 0.5 a value.
    assert full_ratio(multav.parse_attack({"kind": "multav-l2", "epsilon": 5.0}), 100) == pytest.approx(2.0)
    assert full_ratio(multav.parse_attack({"kind": "pgd-linf"}), 100) is None


def test_figures_are_an_attribute_of_the_package() -> None:
    code = (
        "import json, sys, multav\n"
        "before = 'torch' in sys.modules\n"
        "print(json.dumps([before, sorted(multav.figures.__all__)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [False, sorted(figures.__all__)]
