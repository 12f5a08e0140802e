"""Outcomes: the right counts and sizes, whatever the batches, and transfer rows of the very same clips."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from multav import craft, parse_attack
from multav.audits.cells import Cell, cells
from multav.audits.evaluation import (
    VideoClips,
    attack_outcomes,
    attack_videos,
    clean_outcomes,
    sample_number,
)
from multav.audits.outcome import Outcome


class Slopes(nn.Module):
    """Three linear classes with known weights; counts the clips it is shown."""

    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.weights = nn.Parameter(torch.randn(3, 3 * 2 * 4 * 4, generator=draw) * scale)
        self.shown = 0

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 3)."""
        self.shown += len(clips)
        return clips.flatten(1) @ self.weights.T


def videos(windows: Sequence[int] = (1,) * 8, seed: int = 3) -> list[VideoClips]:
    """Videos of random clips (windows, 3, 2, 4, 4), every third with a wrong label, one value in seven black."""
    draw = torch.Generator().manual_seed(seed)
    net, made = Slopes(), []
    for index, count in enumerate(windows):
        pixels = torch.rand((count, 3, 2, 4, 4), generator=draw)
        pixels.view(-1)[::7] = 0
        label = int(net(pixels).softmax(1).mean(0).argmax())
        made.append(VideoClips(10 * index, (label + 1) % 3 if index % 3 == 2 else label, pixels))
    return made


def cell(**fields: object) -> Cell:
    """One attack as a cell."""
    return cells([parse_attack({"kind": "multav-linf", "early_stop": True} | fields)])[0]


def outcomes(model: nn.Module, batch: list[VideoClips], attacked: Cell, **options: object) -> list[Outcome]:
    """Rows without their seconds, which differ from run to run."""
    rows = attack_outcomes(
        model,
        "slopes",
        attacked,
        batch,
        clean_outcomes(model, "slopes", batch),
        **options,  # type: ignore[arg-type]
    )
    return [replace(row, seconds=0.0) for row in rows]


def assert_near(one: list[Outcome], other: list[Outcome]) -> None:
    """Equal but for rounding."""
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        for name, value in vars(left).items():
            there = getattr(right, name)
            assert value == (
                pytest.approx(there, rel=1e-4, abs=1e-6) if isinstance(value, float) else there
            ), name


def test_the_clean_prediction_is_the_mean_softmax_over_the_windows() -> None:
    batch, net = videos((1, 3, 2)), Slopes(1, 0.5)
    for row, video in zip(clean_outcomes(net, "slopes", batch), batch, strict=True):
        logits = video.pixels.double().flatten(1) @ net.weights.detach().double().T
        mean = np.exp(logits.numpy())
        mean = (mean / mean.sum(1, keepdims=True)).mean(0)
        assert row.predicted == row.clean == mean.argmax()
        assert row.confidence == pytest.approx(mean.max(), rel=1e-5)
        assert (row.cell, row.clip, row.attacked, row.gradients) == ("clean", video.index, False, 0)


def test_the_mean_is_one_of_probabilities_and_not_of_logits() -> None:
    net = Slopes()
    with torch.no_grad():
        net.weights.zero_()
        net.weights[0, 0], net.weights[1, 1] = 100.0, 3.0
    pixels = torch.zeros(3, 3, 2, 4, 4)
    # One window shouts for class 0, two speak for class 1.
    pixels.view(3, -1)[:, :2] = torch.tensor([[1.0, 0], [0, 1], [0, 1]])
    (row,) = clean_outcomes(net, "slopes", [VideoClips(0, 1, pixels)])
    assert row.predicted == 1


def test_what_is_misread_already_is_not_attacked() -> None:
    batch, net = videos(), Slopes()
    clean = clean_outcomes(net, "slopes", batch)
    net.shown = 0
    rows = attack_outcomes(net, "slopes", cell(steps=3, early_stop=False), batch, clean)
    assert [row.attacked for row in rows] == [row.right for row in clean]
    assert net.shown == 4 * sum(row.right for row in clean)
    for row, before in zip(rows, clean, strict=True):
        if not row.attacked:
            assert (row.predicted, row.confidence) == (before.predicted, before.confidence)
            assert row.size is row.loss_end is None
            assert row.seconds == row.gradients == 0


@pytest.mark.parametrize(
    "kind", ["multav-linf", "pgd-linf", "multav-l2", "pgd-l2", "multav-spa", "apgd-ratio"]
)
def test_sizes_are_those_of_an_independent_computation(kind: str) -> None:
    fields = {"multav-spa": {"pixels": 5}, "pgd-l2": {"epsilon": 0.3, "step_size": 0.1}}.get(kind, {})
    (attacked,) = cells([parse_attack({"kind": kind, **fields})])
    batch, kept = videos(), {}
    rows = outcomes(
        Slopes(scale=0.3), batch, attacked, on_attacked=lambda video, clips: kept.update({video.index: clips})
    )
    assert sum(row.attacked for row in rows) >= 4
    for row, video in zip(rows, batch, strict=True):
        if not row.attacked:
            continue
        before, after = (t.numpy().astype(np.float64) for t in (video.pixels, kept[video.index]))
        expected = np.abs(after - before).max()
        if attacked.multiplicative:
            lit = before > 0
            expected = np.maximum(after[lit] / before[lit], before[lit] / after[lit]).max()
        assert row.size == pytest.approx(expected, rel=1e-12)
        assert row.l2 == pytest.approx(np.sqrt(((after - before) ** 2).sum()), rel=1e-12)
        assert row.changed == (after != before).any(1).mean()
        logits = torch.from_numpy(after).flatten(1) @ Slopes(scale=0.3).weights.detach().double().T
        assert row.predicted == int(logits.argmax())


def test_rows_do_not_depend_on_the_batches() -> None:
    batch, net = videos((1, 2, 1, 1, 3, 1, 2, 1)), Slopes(scale=0.2)
    attacked = cell(random_start=True, restarts=2)
    together = outcomes(net, batch, attacked, seed=5)
    alone = [row for video in batch for row in outcomes(net, [video], attacked, seed=5)]
    assert_near(together, alone)
    shuffled = outcomes(net, batch[::-1], attacked, seed=5)
    assert_near(together, shuffled[::-1])
    assert together == outcomes(net, batch, attacked, seed=5)
    other = outcomes(net, batch, attacked, seed=6)
    assert [row.loss_end for row in together] != [row.loss_end for row in other]


def test_a_video_draws_the_numbers_of_its_index() -> None:
    batch, net = videos()[:1], Slopes(scale=0.2)
    batch = [replace(batch[0], index=77)]
    attack = parse_attack({"kind": "multav-linf", "random_start": True})
    (made,) = attack_videos(net, batch, attack, seed=4)
    labels = torch.tensor([batch[0].label])
    assert made.clips.equal(craft(net, batch[0].pixels, labels, attack, seed=4, first_sample=77).clips)


def test_no_two_windows_share_a_sample_number() -> None:
    batch = videos((3, 2, 4))
    numbers = [sample_number(video, window) for video in batch for window in range(len(video.pixels))]
    assert len(set(numbers)) == 9
    assert [sample_number(video, 0) for video in batch] == [0, 10, 20]


def test_transfer_rows_are_of_the_same_clips() -> None:
    batch, net, other = videos(), Slopes(scale=0.3), Slopes(seed=8)
    kept: dict[int, Tensor] = {}
    rows = outcomes(
        net,
        batch,
        cell(epsilon=1.5, step_size=1.2),
        others={"other": other},
        on_attacked=lambda video, clips: kept.update({video.index: clips}),
    )
    assert [row.tested_on for row in rows] == ["slopes", "other"] * len(batch)
    for own, moved, video in zip(rows[::2], rows[1::2], batch, strict=True):
        shown = kept.get(video.index, video.pixels)
        logits = shown.double().flatten(1) @ other.weights.detach().double().T
        before = video.pixels.double().flatten(1) @ other.weights.detach().double().T
        assert (moved.model, moved.clip, moved.label) == ("slopes", video.index, video.label)
        assert moved.predicted == int(logits.argmax())
        assert moved.confidence == pytest.approx(float(logits.softmax(1).max()), rel=1e-5)
        assert moved.clean == int(before.argmax())
        assert (moved.size, moved.l2, moved.attacked) == (own.size, own.l2, own.attacked)
        assert moved.gradients == 0
    known = [*clean_outcomes(net, "slopes", batch), *clean_outcomes(other, "other", batch)]
    other.shown = 0
    attack_outcomes(net, "slopes", cell(), batch, known, others={"other": other})
    assert other.shown == sum(row.attacked for row in rows[::2])


def test_gradients_are_those_that_were_spent() -> None:
    batch, net = videos(), Slopes(scale=0.3)
    for row in outcomes(net, batch, cell(epsilon=3.0, step_size=1.1, steps=12)):
        if row.attacked and not row.right:
            assert row.size is not None
            # The clip left on the gradient after the step that fooled the model.
            assert row.size == pytest.approx(1.1 ** (row.gradients - 1), rel=1e-4)
        elif row.attacked:
            assert row.gradients == 12


def test_a_video_is_not_left_while_its_mean_is_right() -> None:
    """Each window alone is misread early, for another class each: their mean is not, until all are pushed on."""
    net = Slopes()
    with torch.no_grad():
        net.weights.zero_()
        net.weights[0, :3] = 10.0
        net.weights[1, 3:6], net.weights[2, 6:9] = 10.0, 10.0
    pixels = torch.zeros(2, 3, 2, 4, 4)
    pixels.view(2, -1)[:, :9] = torch.tensor(
        [[0.5, 0.5, 0.5, 0.49, 0.49, 0.49, 0.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.49, 0.49, 0.49]]
    )
    attacked = cell(epsilon=1.3, step_size=1.011, steps=10)
    (row,) = outcomes(net, [VideoClips(0, 0, pixels)], attacked)
    once = craft(net, pixels, torch.zeros(2, dtype=torch.int64), attacked.attack)
    assert (once.logits.argmax(1) != 0).all()
    assert once.logits.softmax(1).mean(0).argmax() == 0
    assert not row.right
    assert row.gradients > int(once.gradients.sum())


class Coarse(nn.Module):
    """A network whose answer is another one while it computes in less precision."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Slopes(scale=0.05)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits; in bfloat16 those of all classes but the right one are favoured."""
        logits: Tensor = self.net(clips)
        return logits.float().neg() if torch.is_autocast_enabled("cpu") else logits


def test_what_fools_only_the_coarse_gradients_is_attacked_again() -> None:
    net = Coarse()
    batch = [replace(video, label=int(net(video.pixels).argmax())) for video in videos()]
    attacked = cell(epsilon=3.0, step_size=1.3, steps=6)
    coarse = outcomes(net, batch, attacked, precision="bfloat16")
    fine = outcomes(net, batch, attacked)
    assert any(not row.right for row in fine)
    assert [row.predicted for row in coarse] == [row.predicted for row in fine]


def test_a_video_without_a_clean_row_is_refused() -> None:
    with pytest.raises(KeyError):
        attack_outcomes(Slopes(), "slopes", cell(), videos(), [])


def test_nothing_to_attack_gives_the_clean_rows() -> None:
    batch = [video for number, video in enumerate(videos()) if number % 3 == 2]
    rows = outcomes(Slopes(), batch, cell(), others={"other": Slopes(2)})
    assert len(rows) == 2 * len(batch)
    assert not any(row.attacked for row in rows)
    assert outcomes(Slopes(), [], cell()) == []
