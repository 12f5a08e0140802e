"""Noise and the Square attack: within the bound and the region, deterministic, and as strong as they should be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from multav import parse_attack
from multav.attacks.catalogue import AnyAttack
from multav.audits.black_box import square_attack
from multav.audits.noise import Tried, margins, noise_attack


class Sums(nn.Module):
    """Three classes: the sum of the values of each colour; remembers how many clips it was shown."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.shown = 0

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 3)."""
        self.shown += len(clips)
        return clips.sum((2, 3, 4)) * self.scale


def attack_of(kind: str, epsilon: float) -> AnyAttack:
    """A whole-clip attack of this kind."""
    return parse_attack({"kind": kind, "epsilon": epsilon})


def some(count: int, seed: int, frames: int = 3, side: int = 6) -> tuple[Tensor, Tensor]:
    """Random clips with black and white values, and what `Sums` says of them."""
    clips = torch.rand((count, 3, frames, side, side), generator=torch.Generator().manual_seed(seed))
    clips.view(-1)[::11], clips.view(-1)[::13] = 0, 1
    return clips, clips.sum((2, 3, 4)).argmax(1)


bounds = st.one_of(
    st.tuples(st.just("pgd-linf"), st.floats(1e-3, 1.0)),
    st.tuples(st.just("multav-linf"), st.floats(1.001, 50.0)),
)


@settings(max_examples=25, deadline=None)
@given(bound=bounds, seed=st.integers(0, 99), masked=st.booleans(), square=st.booleans())
def test_the_bound_the_range_and_the_region_hold(
    bound: tuple[str, float], seed: int, masked: bool, square: bool
) -> None:
    kind, epsilon = bound
    clips, labels = some(3, seed, frames=1 + seed % 3, side=4 + seed % 3)
    mask = torch.rand((3, 1, *clips.shape[2:]), generator=torch.Generator().manual_seed(seed)) < 0.4
    attack = attack_of(kind, epsilon)
    where = mask if masked else None
    before = clips.clone()
    tried = (
        square_attack(Sums(), clips, labels, attack, mask=where, queries=8, seed=seed)
        if square
        else noise_attack(Sums(), clips, labels, attack, mask=where, draws=3, seed=seed)
    )
    assert clips.equal(before)
    clean, made = clips.double(), tried.clips.double()
    assert made.min() >= 0
    assert made.max() <= 1
    if kind == "pgd-linf":
        assert (made - clean).abs().max() <= epsilon * (1 + 1e-5) + 1e-7
    else:
        assert made[clean == 0].eq(0).all()
        ratio = made[clean > 0] / clean[clean > 0]
        assert torch.maximum(ratio, 1 / ratio).max() <= epsilon * (1 + 1e-5)
    if masked:
        assert made[~mask.expand_as(made)].equal(clean[~mask.expand_as(made)])
    assert tried.logits.equal(Sums()(tried.clips))


@pytest.mark.parametrize("kind", ["pgd-linf", "multav-linf"])
def test_squares_and_noise_reach_the_ends_of_the_bound(kind: str) -> None:
    clips, labels = torch.full((2, 3, 2, 5, 5), 0.5), torch.tensor([0, 1])
    attack = attack_of(kind, 0.1 if kind == "pgd-linf" else 1.2)
    ends = {0.4, 0.6} if kind == "pgd-linf" else {0.5 / 1.2, 0.6}
    for tried in (
        square_attack(Sums(), clips, labels, attack, queries=5),
        noise_attack(Sums(), clips, labels, attack, draws=2),
    ):
        values = set(tried.clips.flatten().tolist())
        assert len(values) == 2
        assert sorted(values) == pytest.approx(sorted(ends), rel=1e-5)


@pytest.mark.parametrize("what", ["noise", "square"])
def test_a_clip_draws_its_own_numbers(what: str) -> None:
    clips, labels = some(4, seed=1)
    # So far from the others that nobody is fooled, and all queries are made.
    clips = torch.where(
        torch.nn.functional.one_hot(labels, 3).bool()[:, :, None, None, None], clips, clips / 3
    )

    def run(rows: list[int], seed: int = 3) -> Tried:
        if what == "noise":
            return noise_attack(
                Sums(), clips[rows], labels[rows], attack_of("pgd-linf", 0.05), seed=seed, first_sample=rows
            )
        return square_attack(
            Sums(),
            clips[rows],
            labels[rows],
            attack_of("pgd-linf", 0.05),
            queries=12,
            seed=seed,
            first_sample=rows,
        )

    whole = run([0, 1, 2, 3])
    assert run([0, 1, 2, 3]).clips.equal(whole.clips)
    assert run([3, 1]).clips.equal(whole.clips[[3, 1]])
    assert not run([0, 1, 2, 3], seed=4).clips.equal(whole.clips)


def test_more_queries_bring_a_smaller_margin_and_a_fooled_clip_is_left() -> None:
    clips, labels = some(6, seed=5)
    attack = attack_of("pgd-linf", 0.03)
    reached = [
        margins(square_attack(Sums(), clips, labels, attack, queries=queries).logits, labels)
        .clamp_min(0)
        .sum()
        for queries in (1, 20, 100)
    ]
    assert reached[0] > reached[1] > reached[2] or reached[2] == 0
    net = Sums()
    tried = square_attack(net, clips, labels, attack, queries=100)
    fooled = tried.logits.argmax(1) != labels
    assert net.shown == int(tried.queries.sum())
    assert (tried.queries[~fooled] == 100).all()
    assert fooled.any()
    assert (tried.queries[fooled] < 100).any()


def test_noise_of_an_l2_bound_lies_on_its_sphere() -> None:
    clips, labels = torch.full((2, 3, 2, 5, 5), 0.5), torch.tensor([0, 1])
    attack = parse_attack({"kind": "pgd-l2", "epsilon": 0.7, "step_size": 0.1})
    tried = noise_attack(Sums(), clips, labels, attack, draws=2)
    lengths = (tried.clips - clips).double().flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((2,), 0.7, dtype=torch.float64), rtol=1e-4, atol=0)


def test_what_makes_no_sense_is_refused() -> None:
    clips, labels = some(1, seed=0)
    with pytest.raises(ValueError, match="on every value by itself"):
        square_attack(Sums(), clips, labels, parse_attack({"kind": "pgd-l2"}))
    with pytest.raises(ValueError, match="at least 1"):
        square_attack(Sums(), clips, labels, attack_of("pgd-linf", 0.1), queries=0)
    with pytest.raises(ValueError, match="at least 1"):
        noise_attack(Sums(), clips, labels, attack_of("pgd-linf", 0.1), draws=0)


def test_a_step_may_be_refused() -> None:
    clips, labels = some(2, seed=0)
    heard: list[int] = []

    def stop(step: int) -> None:
        heard.append(step)
        if step == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        noise_attack(Sums(), clips, labels, attack_of("pgd-linf", 1e-4), on_step=stop)
    assert heard == [0, 1, 2]
    with pytest.raises(InterruptedError):
        square_attack(Sums(), clips, labels, attack_of("pgd-linf", 1e-4), on_step=stop)
